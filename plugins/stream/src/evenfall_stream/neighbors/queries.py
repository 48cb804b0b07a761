"""Farthest point sampling and nearest neighbours with torch_geometric's signatures and results.

torch_geometric's own functions need pyg-lib, which is not on PyPI. These use pyg-lib if it is
installed, and otherwise PyTorch, scipy and Numba.

N points   M queries   D coordinates   B graphs   E edges
"""

from __future__ import annotations

import torch
import torch_geometric.typing
from torch import Tensor

from ..graphs import Graphs, flat_points, read_graphs, starts_of
from .farthest import farthest_points
from .nearest import nearest

_CUDA_MOST = 100
"""The largest number of neighbours that pyg-lib's CUDA kernel accepts."""


def fps(
    x: Tensor,
    batch: Tensor | None = None,
    ratio: float = 0.5,
    random_start: bool = True,
    batch_size: int | None = None,
    *,
    count: int | Tensor | None = None,
) -> Tensor:
    r"""Farthest point sampling: choose each point as far as possible from the previous choices.

    .. math:: i_{m+1} = \arg\max_j \min_{l \le m} \lVert x_j - x_{i_l} \rVert

    Ties go to the lowest index. As in torch_geometric, a point is chosen again only if every other
    point of its graph coincides with a choice. Random starts come from torch's generator, with
    pyg-lib too, so that `torch.manual_seed` makes them reproducible.

    Args:
        x: (N, D) positions; (N, D1, D2) is read as (N, D1 * D2), as in torch_geometric.
        batch: (N,) the graph of each point, sorted; None for one graph.
        ratio: fraction of each graph's points to choose, in (0, 1], rounded up.
        random_start: start at a random point of each graph; False: at its first point.
        batch_size: number of graphs B; needed if the last ones may be empty.
        count: number of points to choose from each graph instead of `ratio`, or all points if it
            has fewer: an integer, or one for each graph, (B,).

    Returns:
        (K,) int64 indices into x, graph by graph, each in the order of choice; none for empty
        graphs.

    Raises:
        TypeError: x is not real floating point, or batch or count is not integer.
        ValueError: x is not finite; batch is unsorted, negative or of another length; ratio or
            count is out of range.

    Source: Qi et al., PointNet++, 2017, https://arxiv.org/abs/1706.02413.
    """
    x = flat_points(x)
    graphs = read_graphs(x, batch, batch_size, names=("x", "batch"))
    counts = _counts(graphs.sizes, ratio, count)
    no_empty_graph = x.numel() > 0 and int(graphs.sizes.min()) > 0  # pyg-lib fails on those
    if count is None and no_empty_graph and torch_geometric.typing.WITH_FPS:
        return _fps_of_pyg(x, graphs, ratio, _first(graphs.sizes, random_start))
    return fps_graphs(x, graphs, counts, random_start)


def fps_graphs(x: Tensor, graphs: Graphs, counts: Tensor, random_start: bool = True) -> Tensor:
    """Like `fps`, without checks of x (N, D).

    Args:
        counts: (B,) number of points to choose from each graph, at most its size, int64, on the
            CPU.
    """
    if not x.numel():
        return torch.empty(0, dtype=torch.int64, device=x.device)
    return farthest_points(x.detach(), graphs.sizes, counts, _first(graphs.sizes, random_start))


def knn(
    x: Tensor,
    y: Tensor,
    k: int,
    batch_x: Tensor | None = None,
    batch_y: Tensor | None = None,
) -> Tensor:
    """The k points of x nearest to each point of y, in the same graph.

    Exact: distances are compared in float64, and ties go to the lowest index. If pyg-lib is
    installed, it compares in the dtype of x and y, and the order of ties is undefined.

    Args:
        x: (N, D) points to search.
        y: (M, D) queries.
        k: neighbours per query, at least 1; all points of the graph if it has fewer.
        batch_x: (N,) the graph of each point of x, sorted; None for one graph.
        batch_y: (M,) the graph of each point of y, sorted; None for one graph.

    Returns:
        (2, E) int64: row 0 has indices into y, in order; row 1 indices into x, nearest first.

    Raises:
        TypeError: x or y is not real floating point, or a batch is not integer.
        ValueError: x or y is not finite; they differ in coordinates or device; k < 1; a batch is
            unsorted, negative or of another length.
    """
    x, y = flat_points(x), flat_points(y, "y")
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if x.device != y.device:
        raise ValueError(f"y is on {y.device}, but x is on {x.device}")
    if x.numel() and y.numel() and x.shape[1] != y.shape[1]:
        raise ValueError(
            f"y must have {x.shape[1]} coordinates as x has, got shape {tuple(y.shape)}"
        )
    graphs_x = read_graphs(x, batch_x, names=("x", "batch_x"))
    graphs_y = read_graphs(y, batch_y, names=("y", "batch_y"))
    return knn_graphs(x, y, k, graphs_x, graphs_y)


def knn_graphs(x: Tensor, y: Tensor, k: int, graphs_x: Graphs, graphs_y: Graphs) -> Tensor:
    """Like `knn`, without checks of x (N, D) and y (M, D)."""
    x, y = x.detach(), y.detach()
    if not x.numel() or not y.numel():
        return torch.empty(2, 0, dtype=torch.int64, device=x.device)
    graphs = max(len(graphs_x), len(graphs_y))
    graphs_x, graphs_y = graphs_x.pad_to(graphs), graphs_y.pad_to(graphs)
    if torch_geometric.typing.WITH_KNN and (x.device.type == "cpu" or k <= _CUDA_MOST):
        wide = torch.promote_types(x.dtype, y.dtype)
        return torch.ops.pyg.knn(x.to(wide), y.to(wide), graphs_x.ptr, graphs_y.ptr, k, False, 1)
    return _edges(x, y, k, graphs_x, graphs_y)


def _counts(sizes: Tensor, ratio: float, count: int | Tensor | None) -> Tensor:
    """The number of points to choose from each graph, (B,)."""
    if count is None:
        if not 0 < ratio <= 1:
            raise ValueError(f"ratio must be in (0, 1], got {ratio}")
        return (sizes.float() * ratio).ceil().long()  # in float32, as pyg-lib rounds
    counts = torch.as_tensor(count)
    if counts.is_floating_point() or counts.dtype == torch.bool:
        raise TypeError(f"count must be an integer or integers, got {counts.dtype}")
    if counts.dim() > 0 and counts.shape != sizes.shape:
        raise ValueError(
            f"count must be an integer or one for each of {len(sizes)} graphs, "
            f"got shape {tuple(counts.shape)}"
        )
    if counts.numel() and int(counts.min()) < 1:
        raise ValueError(f"count must be at least 1, got {int(counts.min())}")
    return torch.minimum(counts.cpu().long(), sizes)


def _first(sizes: Tensor, random_start: bool) -> Tensor:
    """The first choice in each graph, (B,), as an index within the graph."""
    if not random_start:
        return torch.zeros_like(sizes)
    return (torch.rand(len(sizes), dtype=torch.float64) * sizes).long()


def _fps_of_pyg(x: Tensor, graphs: Graphs, ratio: float, first: Tensor) -> Tensor:
    """pyg-lib's fps from our own start: pyg-lib draws from C's generator, so we swap the start
    with the first point and turn its random start off."""
    starts = starts_of(graphs.sizes)[:-1]
    order = torch.arange(x.shape[0])
    order[starts + first] = starts
    order[starts] = starts + first
    order = order.to(x.device)
    return order[torch.ops.pyg.fps(x[order], graphs.ptr, ratio, False)]


def _edges(x: Tensor, y: Tensor, k: int, graphs_x: Graphs, graphs_y: Graphs) -> Tensor:
    """(2, E) for graphs of any sizes: in one search if all have the same size, else one by one."""
    sizes_x, sizes_y = graphs_x.sizes.tolist(), graphs_y.sizes.tolist()
    n, m = sizes_x[0], sizes_y[0]
    if len(set(sizes_x)) == len(set(sizes_y)) == 1:
        dense = x.reshape(len(sizes_x), n, -1), y.reshape(len(sizes_y), m, -1)
        indices = nearest(*dense, min(k, n)) + graphs_x.ptr[:-1, None, None]
        rows = torch.arange(y.shape[0], device=x.device).repeat_interleave(indices.shape[-1])
        return torch.stack([rows, indices.flatten()])
    edges = [torch.empty(2, 0, dtype=torch.int64, device=x.device)]
    start_x = start_y = 0
    for points, queries in zip(x.split(sizes_x), y.split(sizes_y), strict=True):
        if len(points) and len(queries):
            indices = nearest(points[None], queries[None], min(k, len(points)))[0]
            rows = torch.arange(len(queries), device=x.device).repeat_interleave(indices.shape[-1])
            edges.append(torch.stack([rows + start_y, indices.flatten() + start_x]))
        start_x, start_y = start_x + len(points), start_y + len(queries)
    return torch.cat(edges, dim=1)
