"""Farthest point sampling: a compiled loop on the CPU, PyTorch on all graphs at once elsewhere.

N points   D coordinates   B graphs   M points of the largest graph   K samples of a graph
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..graphs import starts_of
from .farthest_cpu import choose


def farthest_points(x: Tensor, sizes: Tensor, counts: Tensor, first: Tensor) -> Tensor:
    """Indices into x (N, D), graph by graph, each in the order of choice.

    Args:
        x: (N, D) finite positions.
        sizes: (B,) number of points of each graph, on the CPU.
        counts: (B,) number of points to choose from each graph, at most sizes, on the CPU.
        first: (B,) first choice in each graph, as an index within the graph.
    """
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    if wide.device.type == "cpu":
        return choose(wide, starts_of(sizes), counts, first)
    return choose_batched(wide, sizes, counts, first)


def choose_batched(x: Tensor, sizes: Tensor, counts: Tensor, first: Tensor) -> Tensor:
    """The same in plain PyTorch, on any device: each step chooses a point in every graph."""
    starts = starts_of(sizes)[:-1]
    axes, distance = _pad_graphs(x, sizes)
    choices = torch.empty(int(counts.max()), len(sizes), dtype=torch.int64, device=x.device)
    current = first.to(x.device, non_blocking=True)
    for step in range(len(choices)):
        choices[step] = current
        _update_distance(distance, axes, current)
        current = distance.argmax(1)
    flat = (choices + starts.to(x.device, non_blocking=True)).t()
    if bool((counts == len(choices)).all()):
        return flat.flatten()
    mask = torch.arange(len(choices)) < counts[:, None]
    return flat[mask.to(x.device)]


def _pad_graphs(x: Tensor, sizes: Tensor) -> tuple[list[Tensor], Tensor]:
    """Each coordinate as (B, M), and the distance to the nearest choice, initially infinite.

    Padding has distance -1, so that it is never the farthest.
    """
    graphs, most = len(sizes), int(sizes.max())
    if bool((sizes == most).all()):
        dense = x.reshape(graphs, most, -1)
        distance = x.new_full((graphs, most), torch.inf)
    else:
        mask = (torch.arange(most) < sizes[:, None]).to(x.device)
        dense = x.new_zeros(graphs, most, x.shape[1])
        dense[mask] = x
        distance = torch.where(mask, torch.inf, -torch.ones((), dtype=x.dtype, device=x.device))
    return [axis.contiguous() for axis in dense.unbind(-1)], distance


def _update_distance(distance: Tensor, axes: list[Tensor], current: Tensor) -> None:
    """distance <- min(distance, squared distance to the current choice)."""
    total = torch.zeros_like(distance)
    for axis in axes:
        total += (axis - axis.gather(1, current[:, None])).square_()
    torch.minimum(distance, total, out=distance)
