"""A Mamba before and after the patch, and where its time goes."""

from __future__ import annotations

from page_pictures import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, pyplot
from page_tables import Record, Rows, by_part, key, table

PLACE = 50
IMAGE = "mamba.svg"


def section(record: Record) -> str:
    """The block of the page."""
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
            'with `evenfall.patch("mamba")`.',
            "![Where the time goes after the patch](images/mamba.svg)",
            table(speed, parts.get("speed", [])),
            table(profile, parts.get("profile", [])),
        ]
    )


def picture(rows: Rows) -> None:
    """One bar a task, cut where its time goes."""
    plt = pyplot()
    found = [row for row in rows if row["part"] == "profile"]
    tasks = list(dict.fromkeys(row["task"] for row in found))[::-1]
    parts = list(dict.fromkeys(row["where"] for row in found))
    colours = (GREY, BLUE, GREEN, ORANGE, PURPLE, RED, "#56B4E9")
    _, axes = plt.subplots(figsize=(8, 2.4))
    left = [0.0] * len(tasks)
    for part, colour in zip(parts, colours, strict=False):
        taken = {row["task"]: row["share"] * 100 for row in found if row["where"] == part}
        widths = [taken.get(task, 0.0) for task in tasks]
        axes.barh(tasks, widths, left=left, color=colour, label=part)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.set_xlabel("share of the time after the patch, %")
    axes.legend(fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.28))
