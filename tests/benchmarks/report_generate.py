"""Generating text: tokens a second of each model."""

from __future__ import annotations

from page_pictures import BLUE, GREEN, ORANGE, pyplot
from page_tables import Record, Rows, key, table

PLACE = 10
IMAGE = "generate.svg"


def section(record: Record) -> str:
    """The block of the page."""
    return (
        "## Generating text\n\nOne token in, the likeliest next token out, for the published "
        "checkpoint and for an `nn.LSTM` of the same sizes.\n\n"
        "![Tokens a second of each model and number of threads](images/generate.svg)\n\n"
        + speeds(record)
    )


def speeds(record: Record) -> str:
    """The table."""
    columns = {
        "Threads": key("threads"),
        "Model": key("way"),
        "Tokens a second": key("tokens_per_second"),
        "Times the LSTM": key("times_the_LSTM"),
    }
    return table(columns, record["rows"])


def picture(rows: Rows) -> None:
    """Tokens a second, one group of bars a model, one colour a number of threads."""
    plt = pyplot()
    ways = list(dict.fromkeys(row["way"] for row in rows))[::-1]
    threads = list(dict.fromkeys(row["threads"] for row in rows))
    _, axes = plt.subplots(figsize=(7.5, 0.9 + 0.55 * len(ways)))
    height = 0.8 / len(threads)
    for index, (count, colour) in enumerate(zip(threads, (BLUE, ORANGE, GREEN), strict=False)):
        speed = {row["way"]: row["tokens_per_second"] for row in rows if row["threads"] == count}
        places = [i + 0.4 - (index + 0.5) * height for i in range(len(ways))]
        drawn = axes.barh(places, [speed.get(way, 0) for way in ways], height, color=colour,
                          label=f"{count} thread{'s' * (count > 1)}")  # fmt: skip
        axes.bar_label(drawn, fmt="%.0f", padding=2, fontsize=8)
    axes.set_yticks(range(len(ways)), ways)
    axes.set_xlabel("tokens a second")
    axes.margins(x=0.12)
    axes.legend(fontsize=8, loc="lower right")
