"""Charts of the confusion matrix and of the accuracy of each class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .canvas import make_figure, palette_colour, save_figure

_MOST_NUMBERS = 25
"""Up to this many classes, the cells of the matrix have room for counts."""


def draw_confusion(result: dict[str, Any], path: str | Path) -> Path:
    """Draw the confusion matrix: rows are true classes, columns predicted, colours shares of a row.

    Args:
        result: an evaluation: `confusion`, a (classes, classes) list of counts; `class_accuracy`,
            by the names of the classes; `accuracy` and the number of `examples`.
        path: of the picture.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import numpy as np

    counts = np.asarray(result["confusion"])
    names = list(result["class_accuracy"])
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(4 + 0.38 * len(names), 20)
    figure = make_figure(side + 1, side)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class")
    ticks = range(len(names))
    axes.set_xticks(ticks, names, rotation=90)
    axes.set_yticks(ticks, names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(f"{100 * result['accuracy']:.2f} % of {result['examples']:,}")
    if len(names) <= _MOST_NUMBERS:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, str(count), ha="center", va="center", color=colour, size=8)
    return save_figure(figure, path)


def draw_classes(result: dict[str, Any], path: str | Path) -> Path:
    """Draw a bar for the accuracy of each class, the best on top, and the mean over classes.

    Args:
        result: an evaluation: `class_accuracy` by name, None for a class without examples, which
            is skipped, and `mean_class_accuracy`.
        path: of the picture.

    Raises:
        ImportError: matplotlib is not installed.
    """
    percent = {n: 100 * v for n, v in result["class_accuracy"].items() if v is not None}
    ordered = sorted(percent.items(), key=lambda item: item[1])
    figure = make_figure(6.5, min(1.2 + 0.28 * len(ordered), 20))
    axes = figure.add_subplot()
    names, values = zip(*ordered, strict=True) if ordered else ((), ())
    bars = axes.barh(names, values, color=palette_colour(0))
    axes.bar_label(bars, fmt="%.1f", padding=2, size=8)
    mean = 100 * result["mean_class_accuracy"]
    axes.axvline(mean, color=palette_colour(1), linewidth=1)
    axes.set_title(f"mean of the classes {mean:.2f} %")
    axes.set_xlim(0, 109)
    axes.set_xlabel("accuracy, %")
    axes.spines[["top", "right"]].set_visible(False)
    return save_figure(figure, path)
