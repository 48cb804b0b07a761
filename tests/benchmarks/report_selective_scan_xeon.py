"""The selective scan on a processor of another make: the same tables."""

from __future__ import annotations

from page_tables import Record
from report_selective_scan import tables

PLACE = 41


def section(record: Record) -> str:
    """The block of the page."""
    heading = (
        "## The selective scan on another processor\n\nThe same on an Intel Xeon. Its address "
        "arithmetic shares ports with its vectors, and a new page of memory costs it more than the "
        "scan that fills it, so that it stays farther from its own limit."
    )
    return "\n\n".join([heading, *tables(record)])
