"""Points put in the order of a coordinate."""

from __future__ import annotations

from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from .reading import coordinate, graph_attributes, graphs_of


@functional_transform("order_by_coordinate")
class OrderByCoordinate(BaseTransform):
    r"""Put the points of each graph in the order of one coordinate.

    .. math:: \pi = \operatorname{argsort}_i \; x_{i,a}, \qquad v_i \leftarrow v_{\pi(i)}

    for every attribute of the nodes; edges are renumbered. Equal coordinates keep their order.
    Takes and returns Data with pos (N, D); where it has `batch`, graphs stay apart.

    Args:
        axis: the column of pos; for events, 0 is time.

    Raises:
        IndexError: pos has no such column.
        TypeError: pos is not floating point.
        ValueError: the data has no finite pos.
    """

    def __init__(self, axis: int = 0) -> None:
        self.axis = axis

    def forward(self, data: Data) -> Data:
        """Data with its points in the new order."""
        order = coordinate(data, self.axis, type(self).__name__).argsort(stable=True)
        order = order[graphs_of(data)[order].argsort(stable=True)]
        kept = {name: data[name] for name in graph_attributes(data)}
        data = data.subgraph(order)
        for name, value in kept.items():
            data[name] = value
        return data

    def __repr__(self) -> str:
        return f"{type(self).__name__}(axis={self.axis})"
