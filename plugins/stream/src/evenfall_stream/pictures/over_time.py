"""A picture of the class of a recording over time."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from evenfall.pictures import make_figure, palette_colour, save_figure

from ..inference.files import FilePrediction


def draw_over_time(prediction: FilePrediction, classes: list[str], path: str | Path) -> Path:
    """Draw the probability of each class in each window, and the number of events.

    A dot marks the most probable class. Windows without events are grey.

    Args:
        prediction: of a recording.
        classes: names of the classes.
        path: of the picture.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: the prediction is not one of a recording.
    """
    parts = prediction.parts
    if parts[0].start is None:
        raise ValueError(f"{prediction.path} is not a recording")
    starts = np.array([part.start for part in parts], float) / 1000
    ends = np.array([part.end for part in parts], float) / 1000
    step = starts[-1] - starts[-2] if len(parts) > 1 else ends[-1] - starts[-1]
    edges: np.ndarray = np.append(starts, starts[-1] + max(step, 1e-3))
    rows = np.array([part.probabilities or [np.nan] * len(classes) for part in parts]).T
    figure = make_figure(8, min(2.2 + 0.28 * len(classes), 16))
    above, axes = figure.subplots(
        2, 1, sharex=True, gridspec_kw={"height_ratios": [1, max(2.0, 0.45 * len(classes))]}
    )
    above.stairs([part.size for part in parts], edges, fill=True, color=palette_colour(1))
    above.set_ylabel("events")
    above.spines[["top", "right"]].set_visible(False)
    above.set_title(prediction.path.name)
    axes.set_facecolor("lightgrey")
    sides = np.arange(len(classes) + 1) - 0.5
    mesh = axes.pcolormesh(edges, sides, rows, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(mesh, ax=[above, axes], label="probability")
    scored = ~np.isnan(rows[0])
    if scored.any():
        middles = (edges[:-1] + edges[1:])[scored] / 2
        axes.plot(middles, rows[:, scored].argmax(0), ".", color=palette_colour(1))
    axes.set_yticks(range(len(classes)), classes)
    axes.invert_yaxis()
    axes.set_xlabel("start of the window, s")
    return save_figure(figure, path)
