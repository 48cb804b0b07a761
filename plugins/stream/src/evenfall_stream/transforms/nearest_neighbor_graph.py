"""Edges from each point's nearest neighbours, without pyg-lib."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform
from torch_geometric.utils import to_undirected

from evenfall.checks import check_choice

from ..neighbors import knn
from .events import check_count
from .reading import positions

FLOWS = ("source_to_target", "target_to_source")


@functional_transform("nearest_neighbor_graph")
class NearestNeighborGraph(BaseTransform):
    r"""Set `edge_index` to the edges from the k nearest neighbours of each point to the point.

    .. math:: \{ (j, i) : x_j \text{ is among the } k \text{ nearest to } x_i \}

    Like torch_geometric's `KNNGraph`, which needs pyg-lib; uses `evenfall_stream.neighbors.knn`.
    Row 0 has the sources (neighbours, nearest first), row 1 the targets (in order). A point has
    fewer neighbours if its graph is too small. Removes `edge_attr`, which belongs to the old
    edges. Takes and returns Data with pos (N, D); with `batch`, edges stay within a graph.

    Args:
        k: neighbours of each point, at least 1.
        loop: whether a point is one of its own neighbours.
        force_undirected: whether to add the reverse of each edge.
        flow: "source_to_target" for edges from the neighbours, "target_to_source" for edges to
            them.
        cosine: whether the nearest points are those in the most similar direction from the origin.
        num_workers: threads of pyg-lib, see `knn`.

    Raises:
        TypeError: pos is not floating point.
        ValueError: k < 1 or an unknown flow; pos is missing or not finite; a point at the origin
            with cosine.
    """

    def __init__(
        self,
        k: int = 6,
        loop: bool = False,
        force_undirected: bool = False,
        flow: str = "source_to_target",
        cosine: bool = False,
        num_workers: int = 1,
    ) -> None:
        check_choice("flow", flow, FLOWS)
        self.k = check_count(k, 1, "k")
        self.loop = loop
        self.force_undirected = force_undirected
        self.flow = flow
        self.cosine = cosine
        self.num_workers = num_workers

    def forward(self, data: Data) -> Data:
        """The data with the edges."""
        pos, batch = positions(data, type(self).__name__), data.get("batch")
        count = self.k if self.loop else self.k + 1
        edges = knn(pos, pos, count, batch, batch, self.cosine, self.num_workers)
        edges = edges if self.loop else _without_loops(edges, len(pos))
        edges = edges.flip(0) if self.flow == FLOWS[0] else edges
        if self.force_undirected:
            edges = to_undirected(edges, num_nodes=len(pos))
        data.edge_index = edges
        data.edge_attr = None
        return data

    def __repr__(self) -> str:
        return f"{type(self).__name__}(k={self.k}, loop={self.loop})"


def _without_loops(edges: Tensor, nodes: int) -> Tensor:
    """(2, E) edges without the loop of each point, or else without its farthest neighbour.

    A point is not among its own neighbours if more than k others coincide with it.
    """
    row, column = edges
    own = row == column
    has_own = torch.zeros(nodes, dtype=torch.bool, device=row.device)
    has_own[row[own]] = True
    last = torch.ones_like(own)
    last[:-1] = row[1:] != row[:-1]
    return edges[:, ~(own | (last & ~has_own[row]))]
