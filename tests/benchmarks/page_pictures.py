"""What the pictures of docs/benchmarks.md share: colours that all can tell apart, and one style."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

# Okabe and Ito's palette
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#777777",
)  # fmt: skip


def pyplot() -> ModuleType:
    """matplotlib's, in the style of the page; imported late, as tables need none of it."""
    import matplotlib

    matplotlib.use("svg")
    # A fixed salt and no date: the same figures give the same file.
    matplotlib.rcParams |= {"svg.hashsalt": "evenfall", "font.size": 9, "axes.grid": True,
                            "grid.alpha": 0.3, "axes.axisbelow": True}  # fmt: skip
    from matplotlib import pyplot as plt

    return plt


def draw(section: Any, record: dict[str, Any], folder: Path) -> None:
    """Write the picture that a section makes of a record into `folder`, where it has one."""
    if not hasattr(section, "IMAGE") or not record["rows"]:
        return
    plt = pyplot()
    section.picture(record["rows"])
    plt.savefig(folder / section.IMAGE, bbox_inches="tight", metadata={"Date": None})
    plt.close("all")
