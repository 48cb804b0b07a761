"""What the sections of docs/benchmarks.md share: records, figures and tables in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

PACKAGES = ("torch", "torch_geometric", "transformers", "numba", "triton")

Record = dict[str, Any]
Rows = list[dict[str, Any]]


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
    """A column that shows this entry of a row."""
    return lambda row: row.get(name)


def by_part(record: Record) -> dict[str, Rows]:
    """The rows of each part of a record."""
    parts: dict[str, Rows] = {}
    for row in record["rows"]:
        parts.setdefault(row["part"], []).append(row)
    return parts


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
