"""Farthest point sampling on the CPU: a Numba loop over each graph, parallel over graphs.

A PyTorch operation costs more than the thousand distances of a small cloud, and each choice takes
a dozen operations. The sums have the same order as in farthest.py, so the choices are the same.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from evenfall_kernels.cpu.compiled import compiled
from evenfall_kernels.cpu.threads import run_split

_BYTES_A_DISTANCE = 16


def choose(x: Tensor, starts: Tensor, counts: Tensor, first: Tensor) -> Tensor:
    """(N, D) float32 or float64 to indices, graph by graph; see farthest.farthest_points.

    Args:
        x: (N, D) finite positions.
        starts: (B + 1,) start of each graph, and the end.
        counts: (B,) number of points to choose from each graph.
        first: (B,) first choice in each graph, as an index within the graph.
    """
    ends = torch.nn.functional.pad(counts.cumsum(0), (1, 0)).numpy()
    choices = np.empty(ends[-1], np.int64)
    axes = x.t().contiguous().numpy()
    arrays = axes, starts.numpy(), ends, first.numpy(), choices

    def fill(begin: int, end: int) -> None:
        _choose(*arrays, begin, end)

    run_split(fill, len(counts), int((starts.diff() * counts).sum()) * _BYTES_A_DISTANCE)
    return torch.from_numpy(choices)


@compiled()
def _choose(
    axes: NDArray[np.floating], starts: NDArray[np.int64], ends: NDArray[np.int64],
    first: NDArray[np.int64], choices: NDArray[np.int64], begin: int, end: int,
) -> None:  # fmt: skip
    for graph in range(begin, end):
        here, there = starts[graph], starts[graph + 1]
        distance = np.full(there - here, np.inf, axes.dtype)
        total = np.empty_like(distance)
        current = first[graph]
        for place in range(ends[graph], ends[graph + 1]):
            choices[place] = here + current
            total[:] = 0
            for axis in range(len(axes)):
                _add_squares(axes[axis][here:there], current, total)
            current = _farthest(distance, total)


@njit(error_model="numpy", nogil=True)
def _add_squares(values: NDArray[np.floating], current: int, total: NDArray[np.floating]) -> None:
    origin = values[current]
    for point in range(len(total)):
        gap = values[point] - origin
        total[point] += gap * gap


@njit(error_model="numpy", nogil=True)
def _farthest(distance: NDArray[np.floating], total: NDArray[np.floating]) -> int:
    """distance <- min(distance, total); returns the first index of its maximum."""
    for point in range(len(distance)):  # a separate loop, so that it vectorises
        distance[point] = total[point] if total[point] < distance[point] else distance[point]
    farthest = 0
    for point in range(len(distance)):
        if distance[point] > distance[farthest]:
            farthest = point
    return farthest
