"""The selective scan on a processor of another make: the same tables."""

from __future__ import annotations

from page_tables import Record
from report_selective_scan import tables

PLACE = 41


def section(record: Record) -> str:
    """The block of the page."""
    heading = (
        "## The selective scan on another processor\n\nThe same on an Intel Xeon, farther from "
        "its own limit: by the rows of 16 and 128 states, a state takes 1.3 times what it takes "
        "the bare loop, and what a step costs besides (loading, softplus, gate) is as much as "
        "fourteen states. Long sequences wait for fresh pages of memory on top; the variables in "
        "the command of [STREAM](#stream) keep pages for the next call."
    )
    return "\n\n".join([heading, *tables(record)])
