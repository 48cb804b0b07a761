"""The nearest neighbours of queries in graphs of any sizes, as a table with k columns.

N points   M queries   D coordinates   E edges
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..tracing import read_number
from .nearest import nearest


def search_graphs(x: Tensor, y: Tensor, k: int, sizes_x: Tensor, sizes_y: Tensor) -> Tensor:
    """(M, k) indices into x, nearest first, -1 where a graph of x has fewer than k points.

    In one search if all graphs have the same size, else one by one.

    Args:
        x: (N, D) points.
        y: (M, D) queries.
        k: neighbours of a query.
        sizes_x: (B,) number of points of each graph, on the CPU.
        sizes_y: (B,) number of queries of each graph, on the CPU.
    """
    points, queries = sizes_x.tolist(), sizes_y.tolist()
    if len(set(points)) == len(set(queries)) == 1:
        of_graphs = x.reshape(len(points), points[0], -1), y.reshape(len(points), queries[0], -1)
        found = nearest(*of_graphs, min(k, points[0]))
        starts = torch.arange(0, len(x), max(points[0], 1), device=x.device)
        return _fill((found + starts[:, None, None]).flatten(0, 1), k)
    parts, start = [], 0
    for one, other in zip(x.split(points), y.split(queries), strict=True):
        if len(one) and len(other):
            found = nearest(one[None], other[None], min(k, len(one)))[0] + start
        else:
            found = torch.empty(len(other), 0, dtype=torch.int64, device=x.device)
        parts.append(_fill(found, k))
        start += len(one)
    return torch.cat(parts)


def table_of_edges(edges: Tensor, k: int, queries: int) -> Tensor:
    """(2, E) edges, sorted by query, to a table (queries, k)."""
    query, point = edges
    place = torch.arange(query.numel(), device=edges.device) - torch.searchsorted(query, query)
    table = edges.new_full((queries, k), -1)
    table[query, place] = point
    return table


def found_places(table: Tensor, count: Tensor) -> Tensor:
    """The places of a flattened table that are not -1, in order; `count` is their number.

    A sort, because nonzero waits for a GPU, and its size is unknown while a graph is traced.
    """
    order = (table < 0).flatten().to(torch.uint8).argsort(stable=True)
    return order[torch.arange(read_number(count, least=1), device=table.device)]


def _fill(found: Tensor, k: int) -> Tensor:
    """(M, <= k) to (M, k)."""
    return torch.nn.functional.pad(found, (0, k - found.shape[1]), value=-1)
