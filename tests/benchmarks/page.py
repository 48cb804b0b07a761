"""Write docs/benchmarks.md and its pictures from docs/benchmarks/<machine>/<subject>.json.

    python tests/benchmarks/page.py

Each subject is a file beside this one, which measures it and shows its records:

    TITLE, ABOUT            the heading of its section and the text below
    tables(record)          what the page shows of the record of one machine
    IMAGE, ALT, picture     where it has one: the file in docs/images, its alternative text, and
                            what draws it from the rows; of the first machine alone

A record of another name gets a plain table of its rows.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import headline
from layout import key, pyplot, table
from record import FOLDER, Record
from summary import summary

from evenfall.files import file_aside, write_text

SUBJECTS = (
    "generate", "egru_step", "egru_int8", "event_matmul", "event_formats", "egru_scan",
    "selective_scan", "ssd_scan", "mamba", "stream", "stream_steps", "stream_robustness",
    "stream_positions", "blocklocal", "spinnaker2", "gpu", "startup", "robustness",
)  # fmt: skip
"""In the order of the page."""
PAGE, IMAGES = FOLDER.with_suffix(".md"), FOLDER.with_name("images")
PACKAGES = ("torch", "torch_geometric", "transformers", "numba", "triton")
MOST_ROWS = 20
INTRO = """# Benchmarks

```bash
make bench
```

runs the benchmarks that need no GPU and writes what they measure to
`docs/benchmarks/<machine>/<subject>.json`; then

```bash
python tests/benchmarks/page.py
```

writes this page from those files. Every figure here comes from one of them. The machine stands
above its tables, the command and the versions below. Compare within a table, not between tables.
"""


def records(folder: Path) -> dict[str, list[Record]]:
    """Subject -> the records of its machines: subjects of `SUBJECTS` first, then others by name."""
    found: dict[str, list[Record]] = {}
    for path in sorted(folder.glob("*/*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        found.setdefault(path.stem, []).append(record | {"file": path.relative_to(folder)})
    known = [name for name in SUBJECTS if name in found]
    return {name: found[name] for name in (*known, *sorted(found.keys() - set(known)))}


def page(folder: Path = FOLDER) -> str:
    """The whole page as Markdown."""
    known = records(folder)
    blocks = [INTRO.strip(), summary(known)]
    for subject, found in known.items():
        module = _module(subject)
        title = module.TITLE if module else subject.replace("_", " ").capitalize()
        blocks += [f"## {title}", module.ABOUT if module else ""]
        for index, record in enumerate(found):
            blocks.append(f"**{_machine(record)}**")
            if index == 0 and hasattr(module, "IMAGE"):
                blocks.append(f"![{module.ALT}](images/{module.IMAGE})")
            blocks += [module.tables(record) if module else _plain(record), _origin(record)]
            blocks.append(record.get("notes", "").strip())
    return "\n\n".join(block for block in blocks if block) + "\n"


def draw(module: ModuleType, record: Record, folder: Path) -> None:
    """Write the picture of a record into `folder`."""
    plt = pyplot()
    module.picture(record["rows"])
    with file_aside(folder / module.IMAGE) as path:
        plt.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close("all")


def _module(subject: str) -> ModuleType | None:
    return importlib.import_module(subject) if subject in SUBJECTS else None


def _machine(record: Record) -> str:
    about = record["machine"]
    gpu = [f"{about['gpu']}, {about['gpu_gib']} GiB"] if about.get("gpu") else []
    cores = [f"{about['cores']} cores"] if about.get("cores") else []
    ram = [f"{about['ram_gib']} GiB"] if about.get("ram_gib") else []
    return ", ".join([*gpu, str(about.get("cpu", "")), *cores, *ram])


def _origin(record: Record) -> str:
    """The command, the versions, the date and the file of a record."""
    packages = record.get("packages", {})
    versions = [f"{name} {packages[name]}" for name in PACKAGES if name in packages]
    stack = [f"Python {record['python']}", *versions] if "python" in record else versions
    file = f"[all rows](benchmarks/{record['file'].as_posix()})"
    return " · ".join([f"`{record['command']}`", ", ".join(stack), record["date"], file])


def _plain(record: Record) -> str:
    """A plain table of the first rows, one column a key."""
    rows = record["rows"]
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = table({name: key(name) for name in names}, rows[:MOST_ROWS])
    if len(rows) > MOST_ROWS:
        text += f"\n\nThe first {MOST_ROWS} of {len(rows)} rows."
    return text


def main() -> None:
    """Write the page and its pictures."""
    for subject, (first, *_) in records(FOLDER).items():
        module = _module(subject)
        if hasattr(module, "IMAGE") and first["rows"]:
            draw(module, first, IMAGES)
    headline.draw(IMAGES)
    write_text(PAGE, page())


if __name__ == "__main__":
    main()
