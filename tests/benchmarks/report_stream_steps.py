"""The published STREAM models with other steps than those measured."""

from __future__ import annotations

from page_tables import Record, key, table

PLACE = 56


def section(record: Record) -> str:
    """The block of the page."""
    columns = {
        "Model": lambda row: f"`{row['model']}`",
        "Steps": key("steps"),
        "Validation accuracy": lambda row: f"{100 * row['accuracy']:.2f} %",
        "Examples": key("examples"),
    }
    return (
        "## STREAM with other steps\n\nThe published models as they were trained, the order of "
        "points and events kept, with other distances for the state to decay over: how much of "
        "what they know they read off the steps.\n\n" + table(columns, record["rows"])
    )
