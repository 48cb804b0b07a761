"""Write docs/benchmarks.md and its pictures from docs/benchmarks/*.json.

    python tests/benchmarks/report.py

A record whose name is not known here gets a plain table of its rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[2] / "docs"
RECORDS, PAGE, IMAGES = DOCS / "benchmarks", DOCS / "benchmarks.md", DOCS / "images"
MOST_ROWS = 20
PACKAGES = ("torch", "transformers", "numba", "triton")

Record = dict[str, Any]
Rows = list[dict[str, Any]]

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


def number(value: Any) -> str:
    """Three digits of a float, thousands separated; a dash for what was not measured."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value).replace("|", "\\|")
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(columns: dict[str, Callable[[dict[str, Any]], Any]], rows: Iterable[Any]) -> str:
    """A Markdown table: heading -> what it shows of a row."""
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    for row in rows:
        lines.append(f"| {' | '.join(number(show(row)) for show in columns.values())} |")
    return "\n".join(lines)


def key(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda row: row.get(name)


def origin(record: Record) -> str:
    """The command, the machine, the versions, the date and the file of a record."""
    about, packages = record["machine"], record.get("packages", {})
    where = [str(about.get("cpu", ""))]
    where += [f"{about['cores']} cores"] if about.get("cores") else []
    where += [f"{about['ram_gib']} GiB"] if about.get("ram_gib") else []
    versions = [f"{name} {packages[name]}" for name in PACKAGES if name in packages]
    stack = ", ".join([f"Python {record['python']}", *versions] if "python" in record else versions)
    file = f"[all rows](benchmarks/{record['name']}.json)"
    line = f"`{record['command']}` · {', '.join(where)} · {stack} · {record['date']} · {file}"
    notes = record.get("notes", "").strip()
    return f"{line}\n\n{notes}" if notes else line


def generate(record: Record) -> str:
    columns = {
        "Threads": key("threads"),
        "Model": key("way"),
        "Tokens a second": key("tokens_per_second"),
        "Times the LSTM": key("times_the_LSTM"),
    }
    return (
        "## Generating text\n\nOne token in, the likeliest next token out, for the published "
        "checkpoint and for an `nn.LSTM` of the same sizes.\n\n"
        "![Tokens a second of each model and number of threads](images/generate.svg)\n\n"
        + table(columns, record["rows"])
    )


EVENT_PRODUCTS = {
    "dense": "`torch.mv`",
    "dense oneDNN": "oneDNN",
    "gather": "gather",
    "event float32": "event float32",
    "event bfloat16": "event bfloat16",
    "event int8": "event int8",
    "in egru_scan float32": "in the scan, float32",
    "in egru_scan bfloat16": "in the scan, bfloat16",
    "event 10 % float32": "event, 10 % of weights",
}


def by_activity(rows: Rows) -> dict[float, dict[str, dict[str, Any]]]:
    found: dict[float, dict[str, dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["activity"], {})[row["product"]] = row
    return found


def event_matmul(record: Record) -> str:
    grouped = by_activity(record["rows"])
    present = {row["product"] for row in record["rows"]}
    columns: dict[str, Callable[[Any], Any]] = {"Activity": lambda item: f"{item[0] * 100:g} %"}
    for product, heading in EVENT_PRODUCTS.items():
        if product in present:
            columns[heading] = lambda item, name=product: item[1].get(name, {}).get("microseconds")
    return (
        "## Event-driven products\n\nMicroseconds for one vector of events times one matrix, by "
        "the share of units that fired. `torch.mv` and oneDNN read the whole matrix; *gather* is "
        "`torch.index_select` and a dense product; *event* is `event_matmul`, Python and checks "
        "included; *in the scan* is the compiled product alone, as `egru_scan` calls it; in the "
        "last column nine weights in ten are pruned.\n\n"
        "![How many times faster than torch.mv each product is](images/event-product.svg)\n\n"
        + table(columns, grouped.items())
    )


def egru_scan(record: Record) -> str:
    columns = {
        "Batch": key("batch"),
        "Steps": key("steps"),
        "Sizes": lambda row: f"{row['inputs']} → {row['units']}",
        "Scan": key("scan"),
        "Activity": lambda row: f"{row['activity'] * 100:.3g} %",
        "Scan, ms": key("scan_ms"),
        "Products, ms": key("products_ms"),
        "oneDNN products, ms": key("oneDNN_products_ms"),
        "`nn.GRU`, ms": key("nn.GRU_ms"),
        "`nn.GRU` / scan": key("nn.GRU/scan"),
    }
    errors = [row for row in record["rows"] if "bf16_y_error" in row]
    text = (
        "## The EGRU scan\n\nForward and backward over whole sequences. *Products* are the dense "
        "float32 matrix products that the equations need and nothing else, through `torch.mm` and "
        "through oneDNN.\n\n"
        "![Milliseconds of the scan, of its products alone and of nn.GRU](images/egru-scan.svg)\n\n"
        + table(columns, record["rows"])
    )
    if errors:
        y, gradient = (
            max(row[name] for row in errors) * 100
            for name in ("bf16_y_error", "bf16_gradient_error")
        )
        text += (
            f"\n\nWith bfloat16 products `y` differs from float32 by at most {number(y)} % and the "
            f"gradient of the recurrent matrix by at most {number(gradient)} %, in the Euclidean "
            "norm."
        )
    return text


def by_part(record: Record) -> dict[str, Rows]:
    parts: dict[str, Rows] = {}
    for row in record["rows"]:
        parts.setdefault(row["part"], []).append(row)
    return parts


def selective_scan(record: Record) -> str:
    sizes = {
        "Batch": key("batch"),
        "Channels": key("channels"),
        "Steps": key("length"),
        "States": key("states"),
        "Forward, ms": key("forward_ms"),
        "Forward + backward, ms": key("forward+backward_ms"),
        "Bare loop, ms": key("bare_loop_ms"),
        "Forward / bare": key("forward/bare"),
        "10⁹ exp a second": key("1e9_exponentials_a_second"),
        "10⁹ multiply-adds a second": key("1e9_multiply_adds_a_second"),
    }
    versus = {
        "Against": key("rival"),
        "Steps": key("length"),
        "Pass": key("pass"),
        "Its ms": key("rival_ms"),
        "`selective_scan`, ms": key("eventide_ms"),
        "Times faster": key("times_faster"),
    }
    memory = {"What": key("what"), "Steps": key("length"), "Peak, MiB": key("peak_mib")}
    parts = by_part(record)
    return "\n\n".join(
        [
            "## The selective scan\n\nThe *bare loop* does the same exponentials and multiply-adds "
            "and touches no memory: it is this machine's limit.",
            "![Milliseconds by number of steps](images/selective-scan.svg)",
            table(sizes, parts.get("size", [])),
            "Against the PyTorch path of `transformers` and the parallel scan of `mamba.py`, one "
            "sequence of 1536 channels and 16 states. Backward, the time of `transformers` grows "
            "with the square of the number of steps.",
            table(versus, parts.get("versus", [])),
            "Memory above the inputs, at its peak:",
            table(memory, parts.get("memory", [])),
        ]
    )


def mamba(record: Record) -> str:
    speed = {
        "Task": key("task"),
        "Before, ms": key("before_ms"),
        "After, ms": key("after_ms"),
        "Times faster": key("times_faster"),
    }
    profile = {
        "Task": key("task"),
        "After the patch, time goes to": key("where"),
        "ms": key("ms"),
        "Share": lambda row: f"{row['share'] * 100:.3g} %",
    }
    parts = by_part(record)
    return "\n\n".join(
        [
            "## A Mamba before and after the patch\n\nThe same model of `transformers` without and "
            'with `eventide.patch("mamba")`.',
            "![Where the time goes after the patch](images/mamba.svg)",
            table(speed, parts.get("speed", [])),
            table(profile, parts.get("profile", [])),
        ]
    )


def startup(record: Record) -> str:
    columns: dict[str, Callable[[dict[str, Any]], Any]] = {
        "What": lambda row: f"`{row['what']}`",
        "Unit": lambda row: "µs" if row["unit"] == "us" else row["unit"],
        "Median": key("median"),
        "Fastest": key("min"),
        "Slowest": key("max"),
    }
    return "## Startup\n\nFresh processes, and one choice of a kernel.\n\n" + table(
        columns, record["rows"]
    )


def gpu(record: Record) -> str:
    parts = by_part(record)
    scans = {
        "Batch": key("batch"),
        "Steps": key("steps"),
        "Sizes": lambda row: f"{row['inputs']} → {row['units']}",
        "Dtype": key("dtype"),
        "Pass": key("pass"),
        "Scan, ms": key("egru_scan_ms"),
        "Products, ms": key("products_ms"),
        "`nn.GRU`, ms": key("nn.GRU_ms"),
        "`nn.LSTM`, ms": key("nn.LSTM_ms"),
        "At least, GB/s": key("least_gb_s"),
    }
    events = {
        "Batch": key("batch"),
        "Activity": lambda row: f"{row['activity'] * 100:g} %",
        "Product": key("product"),
        "µs": key("microseconds"),
        "Times faster than dense": key("times_faster_than_dense"),
        "GB/s": key("gb_s"),
    }
    training = {
        "Layers": key("hidden_sizes"),
        "Parameters": key("parameters"),
        "Epochs": key("epochs"),
        "Seconds": key("seconds"),
        "Tokens a second": key("tokens_per_second"),
        "Validation perplexity": key("validation_perplexity"),
        "Activity": lambda row: f"{row['mean_activity'] * 100:.3g} %",
    }
    mambas = {
        "Operation": key("operation"),
        "Batch": key("batch"),
        "Channels": key("channels"),
        "Steps": key("length"),
        "Pass": key("pass"),
        "ms": key("eventide_ms"),
        "`mamba_ssm`, ms": key("mamba_ssm_ms"),
        "At least, GB/s": key("least_gb_s"),
        "A copy, GB/s": key("copy_gb_s"),
    }
    shown = {"scan": scans, "event": events, "mamba": mambas, "training": training}
    chosen = {"event": lambda row: row["batch"] == 1 and row["activity"] in (0.01, 0.1, 1.0)}
    blocks = ["## On a GPU\n\nThe Triton kernels, checked against float64 before they are timed."]
    for part, columns in shown.items():
        rows = [row for row in parts.get(part, []) if chosen.get(part, lambda row: True)(row)]
        blocks += [table(columns, rows)] if rows else []
    return "\n\n".join(blocks)


def unknown(record: Record) -> str:
    """A plain table of the first rows, one column a key."""
    rows = record["rows"]
    names = list(dict.fromkeys(name for row in rows for name in row))
    title = record["name"].replace("_", " ").capitalize()
    text = f"## {title}\n\n" + table({name: key(name) for name in names}, rows[:MOST_ROWS])
    if len(rows) > MOST_ROWS:
        text += f"\n\nThe first {MOST_ROWS} of {len(rows)} rows."
    return text


SECTIONS: dict[str, Callable[[Record], str]] = {
    "generate": generate,
    "event_matmul": event_matmul,
    "egru_scan": egru_scan,
    "selective_scan": selective_scan,
    "mamba": mamba,
    "gpu": gpu,
    "startup": startup,
}


def records(folder: Path = RECORDS) -> list[Record]:
    """Every record: those known here first, in their order, then the others by name."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        found[path.stem] = json.loads(path.read_text(encoding="utf-8")) | {"name": path.stem}
    order = [name for name in SECTIONS if name in found]
    return [found[name] for name in (*order, *(name for name in found if name not in SECTIONS))]


def page(folder: Path = RECORDS) -> str:
    """The whole page as Markdown."""
    blocks = [INTRO.strip()]
    for record in records(folder):
        section = SECTIONS.get(record["name"], unknown)
        blocks += [section(record), origin(record)]
    return "\n\n".join(blocks) + "\n"


def main() -> None:
    from report_pictures import draw

    IMAGES.mkdir(parents=True, exist_ok=True)
    for record in records():
        draw(record, IMAGES)
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
