"""Fresh processes, and one choice of a kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from page_tables import Record, key, table

PLACE = 70


def section(record: Record) -> str:
    """The block of the page."""
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
