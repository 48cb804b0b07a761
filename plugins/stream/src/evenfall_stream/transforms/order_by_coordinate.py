"""Sorting points by a coordinate."""

from __future__ import annotations

from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from .reading import coordinate, graph_attributes, graphs_of


@functional_transform("order_by_coordinate")
class OrderByCoordinate(BaseTransform):
    r"""Sort the points of each graph by one coordinate.

    .. math:: \pi = \operatorname{argsort}_i \; x_{i,a}, \qquad v_i \leftarrow v_{\pi(i)}

    for every node attribute; edges are renumbered. Points with equal coordinates keep their order.
    Takes and returns Data with pos (N, D), with or without `batch`.

    Args:
        axis: the column of pos; for events, 0 is time.

    Raises:
        IndexError: pos has no such column.
        TypeError: pos is not floating point.
        ValueError: pos is missing or not finite.
    """

    def __init__(self, axis: int = 0) -> None:
        self.axis = axis

    def forward(self, data: Data) -> Data:
        """The data with sorted points."""
        order = coordinate(data, self.axis, type(self).__name__).argsort(stable=True)
        order = order[graphs_of(data)[order].argsort(stable=True)]
        of_graphs = {name: data[name] for name in graph_attributes(data)}
        data = data.subgraph(order)
        for name, value in of_graphs.items():
            data[name] = value
        return data

    def __repr__(self) -> str:
        return f"{type(self).__name__}(axis={self.axis})"
