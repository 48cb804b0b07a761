"""What the sections of docs/benchmarks.md share: figures, tables in Markdown, one picture style."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from record import Record, Rows

# Okabe and Ito's palette, which all readers can tell apart
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#777777",
)  # fmt: skip

Columns = dict[str, Callable[[Any], Any]]


def number(value: Any) -> str:
    """Three digits of a float, thousands separated; a dash for what was not measured."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value).replace("|", "\\|")
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(columns: Columns, rows: Iterable[Any]) -> str:
    """A Markdown table: heading -> what it shows of a row."""
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    for row in rows:
        lines.append(f"| {' | '.join(number(show(row)) for show in columns.values())} |")
    return "\n".join(lines)


def key(name: str) -> Callable[[dict[str, Any]], Any]:
    """A column that shows this entry of a row."""
    return lambda row: row.get(name)


def percent(name: str) -> Callable[[dict[str, Any]], str]:
    """A column that shows this share, of 1, in percent."""
    return lambda row: f"{row[name] * 100:.3g} %"


def by_part(record: Record) -> dict[str, Rows]:
    """The rows of each part of a record."""
    parts: dict[str, Rows] = {}
    for row in record["rows"]:
        parts.setdefault(row["part"], []).append(row)
    return parts


def pyplot() -> ModuleType:
    """matplotlib's, in the style of the page; imported late, as tables need none of it."""
    import matplotlib

    matplotlib.use("svg")
    # A fixed salt, and no date when the file is written: the same figures give the same file.
    matplotlib.rcParams |= {"svg.hashsalt": "evenfall", "font.size": 9, "axes.grid": True,
                            "grid.alpha": 0.3, "axes.axisbelow": True}  # fmt: skip
    from matplotlib import pyplot as plt

    return plt
