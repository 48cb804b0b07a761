"""Farthest point sampling: by a loop on the CPU, elsewhere in PyTorch, all graphs side by side.

N points   D coordinates   B graphs   M points of the largest graph   K points chosen of one
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..graphs import starts_of
from .farthest_cpu import choose


def farthest_points(x: Tensor, sizes: Tensor, counts: Tensor, first: Tensor) -> Tensor:
    """Indices into x (N, D), graph after graph, in the order in which they were chosen.

    Args:
        x: (N, D) finite positions.
        sizes: (B,) points of each graph, on the CPU.
        counts: (B,) how many to choose of each, at most sizes, on the CPU.
        first: (B,) the point of each graph to begin with, counted within the graph.
    """
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    if wide.device.type == "cpu":
        return choose(wide, starts_of(sizes), counts, first)
    return choose_side_by_side(wide, sizes, counts, first)


def choose_side_by_side(x: Tensor, sizes: Tensor, counts: Tensor, first: Tensor) -> Tensor:
    """The same in plain PyTorch, on any device: a choice of every graph at a time."""
    starts = starts_of(sizes)[:-1]
    axes, distance = _side_by_side(x, sizes)
    chosen = torch.empty(int(counts.max()), len(sizes), dtype=torch.int64, device=x.device)
    current = first.to(x.device, non_blocking=True)
    for step in range(len(chosen)):
        chosen[step] = current
        _shorten(distance, axes, current)
        current = distance.argmax(1)
    flat = (chosen + starts.to(x.device, non_blocking=True)).t()
    if bool((counts == len(chosen)).all()):
        return flat.flatten()
    wanted = torch.arange(len(chosen)) < counts[:, None]
    return flat[wanted.to(x.device)]


def _side_by_side(x: Tensor, sizes: Tensor) -> tuple[list[Tensor], Tensor]:
    """Each coordinate as (B, M), and the distance to what is chosen so far: infinite at first.

    The distance of a place that holds no point is -1, so that it is never the farthest.
    """
    graphs, most = len(sizes), int(sizes.max())
    if bool((sizes == most).all()):
        dense = x.reshape(graphs, most, -1)
        distance = x.new_full((graphs, most), torch.inf)
    else:
        held = (torch.arange(most) < sizes[:, None]).to(x.device)
        dense = x.new_zeros(graphs, most, x.shape[1])
        dense[held] = x
        distance = torch.where(held, torch.inf, -torch.ones((), dtype=x.dtype, device=x.device))
    return [axis.contiguous() for axis in dense.unbind(-1)], distance


def _shorten(distance: Tensor, axes: list[Tensor], current: Tensor) -> None:
    """distance <- min(distance, squared distance to the point chosen now)."""
    total = torch.zeros_like(distance)
    for axis in axes:
        total += (axis - axis.gather(1, current[:, None])).square_()
    torch.minimum(distance, total, out=distance)
