"""Exact nearest neighbours without pyg-lib: a loop, scipy's k-d tree, or all distances at once.

All three sort by (squared distance in float64, index), so their results are equal.

G graphs of one size   M queries per graph   N points per graph   D coordinates   K neighbours
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .nearest_cpu import search

_BUDGET = {"cpu": 1 << 18, "cuda": 1 << 26}
"""Number of distances in memory at a time. On the CPU they fit into the second-level cache."""

_TREE_POINTS = 2500
_TREE_COORDINATES = 8
"""From this many points, up to this many coordinates, a k-d tree beats the loop on the CPU."""

_LOOP_NEIGHBORS = 256
"""Above this many neighbours, sorting all distances beats the loop's insertion sort."""


def nearest(x: Tensor, y: Tensor, count: int) -> Tensor:
    """Indices (G, M, K) of the points of x (G, N, D) nearest to each query of y (G, M, D).

    Nearest first, ties by lowest index; K = count must not exceed N.
    """
    if x.device.type == "cpu":
        many = x.shape[1] >= _TREE_POINTS and x.shape[2] <= _TREE_COORDINATES
        if many and count < x.shape[1]:
            return torch.stack([_by_tree(*pair, count) for pair in zip(x, y, strict=True)])
        if count <= _LOOP_NEIGHBORS:
            return search(_wide(x), _wide(y), count)
    return _by_all_distances(x, y, count)


def _by_all_distances(x: Tensor, y: Tensor, count: int) -> Tensor:
    x, y = _wide(x), _wide(y)
    indices = torch.empty(*y.shape[:2], count, dtype=torch.int64, device=x.device)
    for graphs, rows in _chunks(x, y):
        distance = _squared_distance(y[graphs, rows, None], x[graphs, None])
        indices[graphs, rows] = _smallest(distance, count)
    return indices


def _chunks(x: Tensor, y: Tensor) -> Iterator[tuple[slice, slice]]:
    budget = _BUDGET.get(x.device.type, _BUDGET["cuda"])
    rows = max(1, min(y.shape[1], budget // x.shape[1]))
    graphs = max(1, budget // (rows * x.shape[1]))
    for graph in range(0, x.shape[0], graphs):
        for row in range(0, y.shape[1], rows):
            yield slice(graph, graph + graphs), slice(row, row + rows)


def _smallest(distance: Tensor, count: int) -> Tensor:
    """Indices (..., count) of the smallest of (..., N), sorted by (distance, index)."""
    value, index = distance.topk(count, largest=False, sorted=False)
    index = _sort_neighbors(value, index)
    last = value.amax(-1, keepdim=True)
    # topk picks arbitrarily among points that tie for the last place: sort those rows fully.
    if (ties := (distance <= last).sum(-1) > count).any():
        index[ties] = distance[ties].sort(dim=-1, stable=True).indices[..., :count]
    return index


def _sort_neighbors(distance: Tensor, index: Tensor) -> Tensor:
    """`index` sorted by (distance, index) along the last dimension."""
    index, by_index = index.sort(-1)
    return index.gather(-1, distance.gather(-1, by_index).sort(dim=-1, stable=True).indices)


def _by_tree(x: Tensor, y: Tensor, count: int) -> Tensor:
    """x (N, D), y (M, D), count < N -> (M, K) by a k-d tree; ties are resolved exactly."""
    from scipy.spatial import cKDTree

    x, y = _wide(x), _wide(y)
    tree = cKDTree(x.numpy(), balanced_tree=False, compact_nodes=False)
    neighbors = torch.from_numpy(tree.query(y.numpy(), count + 1)[1]).long()
    distance = _squared_distance(y[:, None], x[neighbors])
    index = _sort_neighbors(distance[:, :-1], neighbors[:, :-1])
    # Up to rounding, neighbour K + 1 may be as near as neighbour K: compare all distances then.
    last = distance[:, :-1].amax(-1)
    if (ties := distance[:, -1] <= last * (1 + 1e-12)).any():
        index[ties] = _by_all_distances(x[None], y[None, ties], count)[0]
    return index


def _squared_distance(a: Tensor, b: Tensor) -> Tensor:
    """|a - b|^2 over the last dimension, one coordinate at a time: exact, unlike torch.cdist's
    matrix product, and without a tensor of all differences."""
    total = (a[..., 0] - b[..., 0]).square_()
    for axis in range(1, a.shape[-1]):
        total += (a[..., axis] - b[..., axis]).square_()
    return total


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.device.type == "mps" else x.double()
