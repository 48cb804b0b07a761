"""Write docs/benchmarks.md and its pictures from docs/benchmarks/*.json.

    python tests/benchmarks/report.py

Each record <name>.json is shown by report_<name>.py beside this file, which has

    PLACE               where on the page it goes; the lowest first
    section(record)     its block of the page
    IMAGE, picture(rows)  where it has one: a file of docs/images, and what draws it

A record without such a file gets a plain table of its rows.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

from page_pictures import draw
from page_tables import Record, key, origin, table

HERE = Path(__file__).resolve().parent
DOCS = HERE.parents[1] / "docs"
RECORDS, PAGE, IMAGES = DOCS / "benchmarks", DOCS / "benchmarks.md", DOCS / "images"
MOST_ROWS = 20

INTRO = """# Benchmarks

```bash
make bench
```

runs every `bench_*.py` named below and writes what it measured to `docs/benchmarks/*.json`; then

```bash
python tests/benchmarks/report.py
```

writes this page from those files. Every figure here comes from one of them, next to the command
and the machine that gave it. Compare within a table, not between tables.
"""


def sections() -> dict[str, ModuleType]:
    """The name of a record -> the module that shows it, in the order of the page."""
    names = [path.stem.removeprefix("report_") for path in sorted(HERE.glob("report_*.py"))]
    found = {name: importlib.import_module(f"report_{name}") for name in names}
    return dict(sorted(found.items(), key=lambda item: item[1].PLACE))


def plain(record: Record) -> str:
    """A plain table of the first rows, one column a key."""
    rows = record["rows"]
    names = list(dict.fromkeys(name for row in rows for name in row))
    title = record["name"].replace("_", " ").capitalize()
    text = f"## {title}\n\n" + table({name: key(name) for name in names}, rows[:MOST_ROWS])
    if len(rows) > MOST_ROWS:
        text += f"\n\nThe first {MOST_ROWS} of {len(rows)} rows."
    return text


def records(folder: Path) -> list[Record]:
    """Every record: those with a section first, in their order, then the others by name."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        found[path.stem] = json.loads(path.read_text(encoding="utf-8")) | {"name": path.stem}
    known = sections()
    order = [name for name in known if name in found]
    return [found[name] for name in (*order, *(name for name in found if name not in known))]


def page(folder: Path = RECORDS) -> str:
    """The whole page as Markdown."""
    known, blocks = sections(), [INTRO.strip()]
    for record in records(folder):
        section = known.get(record["name"])
        blocks += [section.section(record) if section else plain(record), origin(record)]
    return "\n\n".join(blocks) + "\n"


def main() -> None:
    """Write the page and its pictures."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    known = sections()
    for record in records(RECORDS):
        draw(known.get(record["name"]), record, IMAGES)
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
