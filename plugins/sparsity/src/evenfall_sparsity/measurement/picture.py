"""A picture of a measurement: the operations of each matrix, dense and effective."""

from __future__ import annotations

from pathlib import Path

from evenfall.pictures import make_figure, palette_colour, save_figure

from .result import Measurement


def draw_measurement(measurement: Measurement, path: str | Path) -> Path:
    """Draw a bar for each matrix: dense operations, effective ones in it, and a mark where density
    x activity lies. The suffix of `path` is the format.

    Raises:
        ValueError: no matrix was multiplied.
    """
    matrices = measurement.matrices
    if not matrices:
        raise ValueError("measurement has no matrix to draw")
    figure = make_figure(8, 1.2 + 0.34 * len(matrices))
    axes = figure.subplots()
    places = range(len(matrices))
    dense = [one.dense_macs for one in matrices]
    effective = [one.effective_macs + one.effective_acs for one in matrices]
    axes.barh(places, dense, color="#d9d9d9", label="dense")
    axes.barh(places, effective, height=0.5, color=palette_colour(0), label="effective")
    expected = [one.expected for one in matrices]
    axes.plot(
        expected, places, "|", color=palette_colour(1), markersize=14, markeredgewidth=2,
        label="dense x density x activity",
    )  # fmt: skip
    for place, one, done in zip(places, matrices, effective, strict=True):
        share = done / one.dense_macs if one.dense_macs else 0.0
        axes.annotate(
            f" {100 * share:.1f} %", (one.dense_macs, place), va="center", fontsize=8,
            annotation_clip=False,
        )  # fmt: skip
    axes.set_yticks(places, [one.name for one in matrices], fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_xlabel(f"multiply-accumulates per {measurement.item}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=3, frameon=False)
    return save_figure(figure, path)
