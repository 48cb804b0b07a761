"""Nearest neighbours on the CPU: a Numba loop, parallel over the queries.

For the small clouds of a classifier this is faster than building a k-d tree for each.
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


def search(x: Tensor, y: Tensor, count: int) -> Tensor:
    """(G, N, D) points and (G, M, D) queries, float64, to (G, M, K); see nearest.nearest."""
    (graphs, points, _), queries = x.shape, y.shape[1]
    indices = np.empty((graphs, queries, count), np.int64)
    arrays = x.transpose(1, 2).contiguous().numpy(), y.contiguous().numpy(), indices

    def fill(begin: int, end: int) -> None:
        _search(*arrays, begin, end)

    run_split(fill, graphs * queries, graphs * queries * points * _BYTES_A_DISTANCE)
    return torch.from_numpy(indices)


@compiled()
def _search(
    axes: NDArray[np.float64], queries: NDArray[np.float64], indices: NDArray[np.int64],
    begin: int, end: int,
) -> None:  # fmt: skip
    """Queries begin to end of all graphs; axes are (G, D, N)."""
    total, smallest = np.empty(axes.shape[2]), np.empty(indices.shape[2])
    for row in range(begin, end):
        graph, query = divmod(row, queries.shape[1])
        total[:] = 0
        for axis in range(axes.shape[1]):
            _add_squares(axes[graph, axis], queries[graph, query, axis], total)
        _smallest(total, smallest, indices[graph, query])


@njit(error_model="numpy", nogil=True)
def _add_squares(values: NDArray[np.float64], origin: float, total: NDArray[np.float64]) -> None:
    for point in range(len(total)):
        gap = values[point] - origin
        total[point] += gap * gap


@njit(error_model="numpy", nogil=True)
def _smallest(
    distance: NDArray[np.float64], smallest: NDArray[np.float64], indices: NDArray[np.int64]
) -> None:
    """Write the smallest distances, ascending, to `smallest` and where they are to `indices`."""
    last = len(indices) - 1
    for point in range(len(distance)):
        if point <= last or distance[point] < smallest[last]:
            slot = min(point, last)
            while slot > 0 and smallest[slot - 1] > distance[point]:
                smallest[slot], indices[slot] = smallest[slot - 1], indices[slot - 1]
                slot -= 1
            smallest[slot], indices[slot] = distance[point], point
