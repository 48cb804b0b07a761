"""The distance of each point to the previous one along an axis."""

from __future__ import annotations

import torch
from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from .reading import coordinate, graphs_of


@functional_transform("coordinate_differences")
class CoordinateDifferences(BaseTransform):
    r"""Add the backward differences of one coordinate, the steps of a selective scan.

    .. math:: \Delta_0 = 0, \qquad \Delta_i = x_{i,a} - x_{i-1,a} \ge 0

    in each graph, in the unit of pos. Takes Data with pos (N, D), sorted by the coordinate (see
    `OrderByCoordinate`); returns it with `attr`, (N,), in the dtype of pos.

    Args:
        axis: the column of pos; for events, 0 is time.
        attr: the name of the new attribute.

    Raises:
        IndexError: pos has no such column.
        TypeError: pos is not floating point.
        ValueError: pos is missing or not finite, or the coordinate decreases.
    """

    def __init__(self, axis: int = 0, attr: str = "step") -> None:
        self.axis = axis
        self.attr = attr

    def forward(self, data: Data) -> Data:
        """The data with the steps."""
        values = coordinate(data, self.axis, type(self).__name__)
        graphs = graphs_of(data)
        steps = torch.zeros_like(values)
        steps[1:] = torch.where(graphs[1:] == graphs[:-1], values.diff(), 0.0)
        if (falls := steps < 0).any():
            at = int(falls.nonzero()[0])
            raise ValueError(
                f"{type(self).__name__} needs points sorted by axis {self.axis}, got "
                f"{float(values[at])} after {float(values[at - 1])} at point {at}; apply "
                "OrderByCoordinate first"
            )
        data[self.attr] = steps
        return data

    def __repr__(self) -> str:
        return f"{type(self).__name__}(axis={self.axis}, attr={self.attr!r})"
