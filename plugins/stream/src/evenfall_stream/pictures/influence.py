"""A cloud coloured by the influence of each point on a class, or on another point.

N points   D coordinates
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from evenfall.pictures import make_figure, palette_colour, save_figure

from ..graphs import read_graphs
from ..models.classifier import StreamClassifier


def class_influence(model: StreamClassifier, data: Data, target: int | None = None) -> Tensor:
    r"""The influence of each point's position on a logit, :math:`\lVert \partial l_c / \partial p_i
    \rVert`, (N,).

    Args:
        model: the gradient is of evaluation mode; the model's own mode does not change.
        data: one cloud with pos (N, 3).
        target: the class c; None for the predicted class.

    Raises:
        ValueError: target is out of range.
    """
    if target is not None and not 0 <= target < model.num_classes:
        raise ValueError(f"target must be between 0 and {model.num_classes - 1}, got {target}")

    def score(pos: Tensor) -> Tensor:
        out = model(pos, x=data.x)[0]
        return out.max() if target is None else out[target]

    return _gradient_norm(model, data, score)


def point_influence(model: StreamClassifier, data: Data, point: int) -> Tensor:
    r"""The influence of each point's position on the features of one point, (N,).

    :math:`\lVert \partial \lVert f \rVert / \partial p_i \rVert`, with f the features of the token
    nearest to the point, after the last block.

    Args:
        model: the gradient is of evaluation mode; the model's own mode does not change.
        data: one cloud with pos (N, 3).
        point: index of the point.

    Raises:
        ValueError: point is out of range.
    """
    count = data.pos.shape[0]
    if not 0 <= point < count:
        raise ValueError(f"point must be between 0 and {count - 1}, got {point}")

    def score(pos: Tensor) -> Tensor:
        tokens = model.backbone(pos, read_graphs(pos), data.x)
        distance = (tokens.pos.detach() - pos[point].detach()).square().sum(1)
        return tokens.x[distance.argmin()].norm()

    return _gradient_norm(model, data, score)


def _gradient_norm(
    model: StreamClassifier, data: Data, score: Callable[[Tensor], Tensor]
) -> Tensor:
    was_training = model.training
    model.eval()
    try:
        pos = data.pos.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(score(pos), pos)
    finally:
        model.train(was_training)
    return gradient.norm(dim=1)


def draw_influence(
    pos: Tensor, panels: dict[str, tuple[Tensor, int | None]], path: str | Path
) -> Path:
    """Draw the cloud once per panel, with points coloured by the square root of their influence.

    Args:
        pos: (N, 3) positions.
        panels: title to the influence (N,) and the index of the point to mark, or None.
        path: of the picture.

    Raises:
        ValueError: pos is not (N, 3), or an influence is not (N,).
    """
    if pos.dim() != 2 or pos.shape[1] != 3:
        raise ValueError(f"pos must have shape (points, 3), got {tuple(pos.shape)}")
    figure = make_figure(4.6 * len(panels), 4.4)
    points = pos.detach().cpu().numpy()
    for place, (title, (influence, point)) in enumerate(panels.items(), 1):
        if influence.shape != pos.shape[:1]:
            raise ValueError(
                f"influence must have shape ({len(pos)},), got {tuple(influence.shape)}"
            )
        values = influence.detach().cpu().numpy()
        # Few points have most of the influence; without this the others would have one colour.
        values = np.sqrt(values)
        top = float(np.quantile(values, 0.98)) or 1.0
        axes = figure.add_subplot(
            1,
            len(panels),
            place,
            projection="3d",
            computed_zorder=False,  # keeps the mark in front
        )
        order = np.argsort(values)
        axes.scatter(
            *points[order].T, c=np.minimum(values[order] / top, 1), cmap="viridis", s=9, vmin=0,
            vmax=1, linewidths=0, depthshade=False,
        )  # fmt: skip
        if point is not None:
            axes.scatter(
                *points[point], marker="*", s=160, color=palette_colour(1), edgecolor="black"
            )
        axes.set_box_aspect(np.maximum(np.ptp(points, axis=0), 1e-3), zoom=1.3)
        axes.set_axis_off()
        axes.set_title(title, size=10)
    return save_figure(figure, path)
