"""Edges from each point's nearest neighbours, without pyg-lib."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from ..neighbors import knn
from .reading import positions


@functional_transform("nearest_neighbor_graph")
class NearestNeighborGraph(BaseTransform):
    r"""Set `edge_index` to the edges from the k nearest neighbours of each point to the point.

    .. math:: \{ (j, i) : x_j \text{ is among the } k \text{ nearest to } x_i \}

    torch_geometric's `KNNGraph`, which needs pyg-lib, by `evenfall_stream.neighbors.knn`. Row 0
    holds sources (neighbours, nearest first), row 1 targets (in order). A graph of fewer points
    gives all of them. `edge_attr` is dropped, since it belonged to other edges. Takes and returns
    Data with pos (N, D); where it has `batch`, graphs stay apart.

    Args:
        k: neighbours of each point, at least 1.
        loop: count each point among its own neighbours.

    Raises:
        TypeError: pos is not floating point.
        ValueError: k < 1; the data has no finite pos.
    """

    def __init__(self, k: int = 6, loop: bool = False) -> None:
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        self.k = k
        self.loop = loop

    def forward(self, data: Data) -> Data:
        """Data with the edges."""
        pos, batch = positions(data, type(self).__name__), data.get("batch")
        found = knn(pos, pos, self.k if self.loop else self.k + 1, batch, batch)
        data.edge_index = (found if self.loop else _without_loops(found, len(pos))).flip(0)
        data.edge_attr = None
        return data

    def __repr__(self) -> str:
        return f"{type(self).__name__}(k={self.k}, loop={self.loop})"


def _without_loops(found: Tensor, nodes: int) -> Tensor:
    """`found` (2, E) less each point itself, or less its farthest neighbour.

    A point misses itself among its neighbours where more than k others lie at the same place.
    """
    row, column = found
    own = row == column
    has_own = torch.zeros(nodes, dtype=torch.bool, device=row.device)
    has_own[row[own]] = True
    last = torch.ones_like(own)
    last[:-1] = row[1:] != row[:-1]
    return found[:, ~(own | (last & ~has_own[row]))]
