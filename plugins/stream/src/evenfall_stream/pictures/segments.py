"""A picture of a cloud whose points have classes.

N points
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evenfall.pictures import PALETTE, make_figure, palette_colour, save_figure

_MOST = 20_000
"""Points that are drawn; of more, every k-th."""


def draw_segments(
    pos: Tensor, panels: Mapping[str, Tensor], classes: Sequence[str], path: str | Path
) -> Path:
    """Draw the cloud once per panel, its points coloured by class.

    Args:
        pos: (N, 3) positions.
        panels: title to the number of the class of each point, (N,).
        classes: names of the classes.
        path: of the picture.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: pos is not (N, 3), or a panel is not (N,).
    """
    if pos.dim() != 2 or pos.shape[1] != 3:
        raise ValueError(f"pos must have shape (points, 3), got {tuple(pos.shape)}")
    for title, numbers in panels.items():
        if numbers.shape != pos.shape[:1]:
            raise ValueError(f"{title} must have shape ({len(pos)},), got {tuple(numbers.shape)}")
    step = -(-len(pos) // _MOST)
    points = pos[::step].numpy()
    shown = {title: numbers[::step].numpy() for title, numbers in panels.items()}
    present = torch.cat(list(panels.values())).unique().tolist()
    figure = make_figure(4.6 * len(panels) + 1.4, 4.4)
    for place, (title, numbers) in enumerate(shown.items(), 1):
        axes = figure.add_subplot(1, len(panels), place, projection="3d")
        for rank, number in enumerate(present):
            axes.scatter(
                *points[numbers == number].T, color=_colour(rank, present), s=5, linewidths=0,
                depthshade=False, label=classes[number],
            )  # fmt: skip
        axes.set_box_aspect(tuple(points.max(0) - points.min(0) + 1e-9))
        axes.set_title(title)
    axes.legend(loc="center left", bbox_to_anchor=(1.05, 0.5), frameon=False, markerscale=3)
    return save_figure(figure, path)


def _colour(rank: int, present: list[int]) -> Any:
    """The colour of a class: of the palette where it has enough, else of a rainbow."""
    if max(present) < len(PALETTE):
        return palette_colour(present[rank])
    from matplotlib import colormaps

    return colormaps["turbo"]((rank + 0.5) / len(present))
