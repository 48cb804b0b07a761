"""The searches as torch.library operators, which torch.compile and torch.export do not look into.

N points   M queries   D coordinates   B graphs
"""

from __future__ import annotations

import torch
from torch import Tensor

from .farthest import farthest_points
from .table import search_graphs


@torch.library.custom_op("evenfall_stream::farthest_points", mutates_args=())
def farthest_points_op(
    x: Tensor, sizes: Tensor, counts: Tensor, first: Tensor, total: int
) -> Tensor:
    """(N, D) points to `total` indices, the sum of (B,) counts; see farthest.farthest_points."""
    return farthest_points(x, sizes, counts, first)


@farthest_points_op.register_fake
def _(x: Tensor, sizes: Tensor, counts: Tensor, first: Tensor, total: int) -> Tensor:
    return x.new_empty(total, dtype=torch.int64)


@torch.library.custom_op("evenfall_stream::nearest_table", mutates_args=())
def nearest_table_op(x: Tensor, y: Tensor, k: int, sizes_x: Tensor, sizes_y: Tensor) -> Tensor:
    """(N, D) points and (M, D) queries to indices (M, k); see table.search_graphs."""
    return search_graphs(x, y, k, sizes_x, sizes_y)


@nearest_table_op.register_fake
def _(x: Tensor, y: Tensor, k: int, sizes_x: Tensor, sizes_y: Tensor) -> Tensor:
    return x.new_empty(y.shape[0], k, dtype=torch.int64)
