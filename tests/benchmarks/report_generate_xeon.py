"""Generating text on a processor of another make: the same table."""

from __future__ import annotations

from page_tables import Record
from report_generate import speeds

PLACE = 11


def section(record: Record) -> str:
    """The block of the page."""
    return (
        "## Generating text on another processor\n\nThe same on an Intel Xeon and a later "
        "`transformers`. Skipping silent units leaves a fraction of a millisecond of arithmetic a "
        "token: what remains is Python between the operators, which this machine runs more slowly, "
        "while the LSTM waits for memory on both.\n\n" + speeds(record)
    )
