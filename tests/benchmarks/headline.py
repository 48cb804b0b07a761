"""The three comparisons that README.md opens with, read from the records, and their picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from layout import BLUE, GREY, pyplot
from record import FOLDER

from evenfall.files import file_aside

MACHINE = "intel-xeon"
IMAGE = "results.svg"


class Comparison(NamedTuple):
    """One task, and how many times faster a plugin does it than what it replaces."""

    task: str
    plugin: str
    replaced: str
    times_faster: float


def comparisons(folder: Path = FOLDER) -> list[Comparison]:
    """The comparisons, a plugin each, all measured on `MACHINE`."""
    generate = _row(folder, "generate", threads=1, way="EGRU, events")
    prompt = _row(folder, "mamba", part="speed", task="prompt of 1024 tokens")
    ours, theirs = (
        _row(folder, "stream", part="scaling", layer=layer, points=65_536, **{"pass": "forward"})
        for layer in ("StreamConv", "PointTransformerConv")
    )
    return [
        Comparison(
            "Generate text, one token at a time", "EGRU", "nn.LSTM", generate["times_the_LSTM"]
        ),
        Comparison(
            "Read a prompt of 1,024 tokens", "Mamba, patched", "transformers alone",
            prompt["times_faster"],
        ),
        Comparison(
            "Layer over 65,536 points", "StreamConv", "PointTransformerConv",
            theirs["ms"] / ours["ms"],
        ),
    ]  # fmt: skip


def draw(folder: Path) -> None:
    """Write the picture: two bars a task, the time of each as a share of what is replaced."""
    plt = pyplot()
    rows = comparisons()
    figure, panels = plt.subplots(1, len(rows), figsize=(9, 1.6))
    for axes, row in zip(panels, rows, strict=True):
        share = 100 / row.times_faster
        axes.barh([row.replaced, row.plugin], [100, share], color=[GREY, BLUE], height=0.7)
        axes.invert_yaxis()
        axes.set_title(row.task, fontsize=9, loc="left")
        axes.set_xlim(0, 100)
        axes.set_xlabel("time, %")
        axes.grid(visible=False)
        axes.spines[["top", "right"]].set_visible(False)
        axes.text(share + 2, 1, f"{row.times_faster:.2g}x faster", va="center", fontweight="bold")
    figure.tight_layout(w_pad=2)
    with file_aside(folder / IMAGE) as path:
        plt.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close("all")


def _row(folder: Path, subject: str, **wanted: object) -> dict[str, Any]:
    path = folder / MACHINE / f"{subject}.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    (match,) = [row for row in rows if wanted.items() <= row.items()]
    return match
