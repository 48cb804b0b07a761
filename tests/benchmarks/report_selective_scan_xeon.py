"""The selective scan on a processor of another make: the same tables."""

from __future__ import annotations

from page_tables import Record, Rows, by_part
from report_selective_scan import tables

PLACE = 41
FEW, MANY = 16, 128


def section(record: Record) -> str:
    """The block of the page."""
    ratio, besides = against_the_bare_loop(by_part(record)["size"])
    heading = (
        "## The selective scan on another processor\n\nThe same on an Intel Xeon, farther from "
        f"its own limit: by the rows of {FEW} and {MANY} states, a state takes {ratio:.2g} times "
        "what it takes the bare loop, and what a step costs besides (loading, softplus, gate) is "
        f"as much as {besides:.0f} states. Long sequences wait for fresh pages of memory on top; "
        "the variables in the command of [STREAM](#stream) keep pages for the next call."
    )
    return "\n\n".join([heading, *tables(record)])


def against_the_bare_loop(sizes: Rows) -> tuple[float, float]:
    """A further state over one of the bare loop, and how many states the rest of a step costs."""
    few, many = (
        next(row for row in sizes if _sequence(row) == (1, 2048) and row["states"] == states)
        for states in (FEW, MANY)
    )
    state, bare = (
        (many[name] - few[name]) / (MANY - FEW) for name in ("forward_ms", "bare_loop_ms")
    )
    return state / bare, few["forward_ms"] / state - FEW


def _sequence(row: dict[str, float]) -> tuple[float, float]:
    return row["batch"], row["length"]
