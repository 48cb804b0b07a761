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
from ..tracing import read_number
from .cosine import directions, has_direction
from .farthest import farthest_points
from .op import farthest_points_op, nearest_table_op
from .table import found_places, search_graphs, table_of_edges

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
    if _has_pyg_fps() and count is None and x.numel() and int(graphs.sizes.min()) > 0:
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
    first = _first(graphs.sizes, random_start)
    if torch.compiler.is_compiling():
        total = read_number(counts.sum(), least=1)
        return farthest_points_op(x.detach(), graphs.sizes, counts, first, total)
    return farthest_points(x.detach(), graphs.sizes, counts, first)


def knn(
    x: Tensor,
    y: Tensor,
    k: int,
    batch_x: Tensor | None = None,
    batch_y: Tensor | None = None,
    cosine: bool = False,
    num_workers: int = 1,
    batch_size: int | None = None,
) -> Tensor:
    r"""The k points of x nearest to each point of y, in the same graph.

    Exact: distances are compared in float64, and ties go to the lowest index. If pyg-lib is
    installed, it compares in the dtype of x and y, and the order of ties is undefined.

    Args:
        x: (N, D) points to search.
        y: (M, D) queries.
        k: neighbours per query, at least 1; all points of the graph if it has fewer.
        batch_x: (N,) the graph of each point of x, sorted; None for one graph.
        batch_y: (M,) the graph of each point of y, sorted; None for one graph.
        cosine: whether to compare :math:`1 - \cos(x_i, y_j)` instead of the distance; never with
            pyg-lib, which has it only on a GPU.
        num_workers: threads of pyg-lib for one graph on the CPU. Without pyg-lib the search uses
            the threads of PyTorch.
        batch_size: number of graphs B, at least those in batch_x and batch_y. The result does not
            depend on it; torch.compile then need not read the number.

    Returns:
        (2, E) int64: row 0 has indices into y, in order; row 1 indices into x, nearest first.

    Raises:
        TypeError: x or y is not real floating point, or a batch is not integer.
        ValueError: x or y is not finite; they differ in coordinates or device; k or num_workers
            is below 1; a batch is unsorted, negative, of another length or beyond batch_size; a
            point at the origin with cosine, where it has no direction.
    """
    x, y = flat_points(x), flat_points(y, "y")
    for name, number in (("k", k), ("num_workers", num_workers)):
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
    if x.device != y.device:
        raise ValueError(f"y is on {y.device}, but x is on {x.device}")
    if x.numel() and y.numel() and x.shape[1] != y.shape[1]:
        raise ValueError(
            f"y must have {x.shape[1]} coordinates as x has, got shape {tuple(y.shape)}"
        )
    direction_checks = [[has_direction(rows, name)] if cosine else [] for rows, name in
                        ((x, "x"), (y, "y"))]  # fmt: skip
    if batch_size is None and torch.compiler.is_compiling():
        batch_size = _last_graph(batch_x, batch_y) + 1  # one number, read once
    of_x, of_y = (
        read_graphs(rows, batch, batch_size, checks=checks, names=(name, f"batch_{name}"))
        for rows, batch, checks, name in zip(
            (x, y), (batch_x, batch_y), direction_checks, "xy", strict=True
        )
    )
    if not x.numel() or not y.numel():
        return torch.empty(2, 0, dtype=torch.int64, device=x.device)
    if of_x.count != of_y.count:
        graphs = max(of_x.count, of_y.count)
        of_x, of_y = of_x.pad_to(graphs), of_y.pad_to(graphs)
    if cosine:
        x, y = directions(x), directions(y)
    elif _has_pyg_knn(x, k) and not torch.compiler.is_compiling():
        return _knn_of_pyg(x, y, k, of_x, of_y, num_workers)
    table = nearest_table(x, y, k, of_x, of_y, exact=True)
    return _edges_of(table, k, of_x, of_y)


def nearest_table(
    x: Tensor, y: Tensor, k: int, graphs_x: Graphs, graphs_y: Graphs, exact: bool = False
) -> Tensor:
    """The neighbours of `knn` as a table, (M, k), -1 where a graph of x has fewer than k points.

    The arguments are unchecked: x (N, D) and y (M, D), not empty, with the same number of graphs.
    With `exact`, pyg-lib is not used.
    """
    x, y = x.detach(), y.detach()
    if torch.compiler.is_compiling():
        return nearest_table_op(x, y, k, graphs_x.sizes, graphs_y.sizes)
    if _has_pyg_knn(x, k) and not exact:
        return table_of_edges(_knn_of_pyg(x, y, k, graphs_x, graphs_y), k, y.shape[0])
    return search_graphs(x, y, k, graphs_x.sizes, graphs_y.sizes)


def _last_graph(*batches: Tensor | None) -> int:
    last = [batch[-1] for batch in batches if batch is not None and batch.numel()]
    return read_number(torch.stack(last).amax()) if last else 0


def _has_pyg_knn(x: Tensor, k: int) -> bool:
    return bool(torch_geometric.typing.WITH_KNN) and (x.device.type == "cpu" or k <= _CUDA_MOST)


def _knn_of_pyg(
    x: Tensor, y: Tensor, k: int, graphs_x: Graphs, graphs_y: Graphs, workers: int = 1
) -> Tensor:
    wide = torch.promote_types(x.dtype, y.dtype)
    edges: Tensor = torch.ops.pyg.knn(
        x.to(wide), y.to(wide), graphs_x.ptr, graphs_y.ptr, k, False, workers
    )
    return edges


def _edges_of(table: Tensor, k: int, graphs_x: Graphs, graphs_y: Graphs) -> Tensor:
    """(2, E) edges of the places of a table that are not -1."""
    if not torch.compiler.is_compiling() and int(graphs_x.sizes.min()) >= k:
        rows = torch.arange(table.shape[0], device=table.device).repeat_interleave(k)
        return torch.stack([rows, table.flatten()])
    places = found_places(table, (graphs_y.sizes * graphs_x.sizes.clamp(max=k)).sum())
    return torch.stack([places // k, table.flatten()[places]])


def _counts(sizes: Tensor, ratio: float, count: int | Tensor | None) -> Tensor:
    """The number of points to choose from each graph, (B,)."""
    if count is None:
        if not 0 < ratio <= 1:
            raise ValueError(f"ratio must be in (0, 1], got {ratio}")
        return (sizes.float() * ratio).ceil().long()  # in float32, as pyg-lib rounds
    if isinstance(count, int) and not isinstance(count, bool):
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        return sizes.clamp(max=count)
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
    return (torch.rand(sizes.shape[0], dtype=torch.float64) * sizes).long()


def _has_pyg_fps() -> bool:
    return bool(torch_geometric.typing.WITH_FPS) and not torch.compiler.is_compiling()


def _fps_of_pyg(x: Tensor, graphs: Graphs, ratio: float, first: Tensor) -> Tensor:
    """pyg-lib's fps from our own start: pyg-lib draws from C's generator, so we swap the start
    with the first point and turn its random start off."""
    starts = starts_of(graphs.sizes)[:-1]
    order = torch.arange(x.shape[0])
    order[starts + first] = starts
    order[starts] = starts + first
    order = order.to(x.device)
    return order[torch.ops.pyg.fps(x[order], graphs.ptr, ratio, False)]
