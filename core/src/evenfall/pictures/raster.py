"""A raster of events: which units fire at which token.

Dimensions: T tokens, H units of a layer, L layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .canvas import make_figure, palette_colour, save_figure

if TYPE_CHECKING:
    import numpy as np

_MOST_LABELS = 60
_MOST_ROWS = 300  # with more rows than pixels, some units would be hidden


def draw_raster(
    events: Sequence[Any],
    path: str | Path,
    *,
    words: Sequence[str] | None = None,
    title: str | None = None,
    step: str = "token",
) -> Path:
    """Draw tokens along x and the units of each layer along y, the most active on top.

    In a layer of more than 300 units, neighbours in that order share a row. Two plots below show
    the share of each layer's units that fire at each token, and the number of events at each token,
    stacked by layer.

    Args:
        events: for each layer a (T, H) array or tensor of 0 and 1.
        path: the PNG file; it appears whole or not at all.
        words: T tokens, the labels of the x axis if there are at most 60.
        title: of the picture.
        step: what one of the T is called.

    Returns:
        The path.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there is no layer or no token, the layers differ in length, or the number of
            words is not T.
    """
    import numpy as np

    layers = [np.asarray(layer) != 0 for layer in events]
    steps = _steps(layers, words)
    heights = [*(0.6 + min(layer.shape[1], _MOST_ROWS) / 110 for layer in layers), 0.5, 1.0]
    width = min(max(6.0, 0.24 * steps + 1.8), 14.0)
    figure = make_figure(width, float(sum(heights)) + 1.6)
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    for index, layer in enumerate(layers):
        _units(axes[index], layer, index)
    _activity(axes[-2], layers)
    _events(axes[-1], layers, step)
    if words is not None and steps <= _MOST_LABELS:
        axes[-1].set_xticks(range(steps), words, rotation=90, fontsize=8)
    else:
        axes[-1].set_xlabel(step)
    axes[-1].set_xlim(-0.5, steps - 0.5)
    if title:
        figure.suptitle(title, fontsize=11)
    return save_figure(figure, path, dpi=150)


def _steps(layers: list[np.ndarray], words: Sequence[str] | None) -> int:
    shapes = [layer.shape for layer in layers]
    if not layers or any(len(shape) != 2 or 0 in shape for shape in shapes):
        raise ValueError(f"events must be (tokens, units) for each layer, not empty, got {shapes}")
    if len({shape[0] for shape in shapes}) > 1:
        raise ValueError(f"events must have equally many tokens in every layer, got {shapes}")
    if words is not None and len(words) != shapes[0][0]:
        raise ValueError(f"words must be {shapes[0][0]}, one for each token, got {len(words)}")
    return int(shapes[0][0])


def _units(axis: Any, layer: np.ndarray, index: int) -> None:
    import numpy as np
    from matplotlib.colors import LinearSegmentedColormap

    rate = layer.mean(0)
    units: np.ndarray = layer[:, np.argsort(-rate, kind="stable")].T.astype(float)
    together = -(-len(units) // _MOST_ROWS)
    if together > 1:
        units = np.add.reduceat(units, np.arange(0, len(units), together)) / together
    colours = LinearSegmentedColormap.from_list("events", ["#FFFFFF", palette_colour(index)])
    extent = (-0.5, len(layer) - 0.5, layer.shape[1], 0)
    axis.imshow(
        units, aspect="auto", cmap=colours, vmin=0, vmax=1, interpolation="nearest", extent=extent
    )
    axis.set_ylabel(f"layer {index + 1}\nunit, by rate", fontsize=9)
    axis.tick_params(labelsize=8)
    title = (
        f"{layer.shape[1]} units, {100 * rate.mean():.1f} % active, "
        f"{int((rate == 0).sum())} silent throughout"
    )
    if together > 1:
        title += f"; a row is {together} units, darker where more of them fired"
    axis.set_title(title, fontsize=9, loc="left")


def _activity(axis: Any, layers: list[np.ndarray]) -> None:
    import numpy as np

    share = np.stack([layer.mean(1) for layer in layers])
    axis.imshow(
        share,
        aspect="auto",
        interpolation="nearest",
        cmap="cividis",
        vmin=0,
        vmax=max(share.max(), 1e-9),
    )
    axis.set_yticks(range(len(layers)), [f"layer {i + 1}" for i in range(len(layers))], fontsize=8)
    title = f"share of units active, 0 (dark) to {100 * share.max():.0f} %"
    axis.set_title(title, fontsize=9, loc="left")


def _events(axis: Any, layers: list[np.ndarray], step: str) -> None:
    import numpy as np

    bottom = np.zeros(len(layers[0]))
    for index, layer in enumerate(layers):
        count = layer.sum(1)
        colour = palette_colour(index)
        axis.bar(np.arange(len(count)), count, bottom=bottom, color=colour, width=0.9)
        bottom += count
    axis.set_ylabel(f"events\nper {step}", fontsize=9)
    axis.tick_params(labelsize=8)
