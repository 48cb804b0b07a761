"""Plain text: tables that are never cut."""

from __future__ import annotations

from collections.abc import Sequence


def columns(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table: the first column to the left, columns of numbers to the right."""
    cells = [tuple(headings), *map(tuple, rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(headings))]
    right = [
        at > 0 and all(row[at][:1].isdigit() or not row[at] for row in rows)
        for at in range(len(headings))
    ]
    lines = [
        "  ".join(
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in cells
    ]
    return "\n".join(lines)
