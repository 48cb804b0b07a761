"""Farthest point sampling of a cloud."""

from __future__ import annotations

from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from ..neighbors import fps
from .events import check_count
from .reading import positions, refuse_batch


@functional_transform("farthest_points")
class FarthestPoints(BaseTransform):
    r"""Keep `count` points of a cloud, each as far as possible from the previous choices.

    .. math:: i_{m+1} = \arg\max_j \min_{l \le m} \lVert x_j - x_{i_l} \rVert

    See `evenfall_stream.neighbors.fps`; torch_geometric's `FixedPoints` chooses at random. Takes
    Data with pos (N, D) and returns the selected rows of every node attribute, in the order of
    choice; edges between these points stay and are renumbered. A smaller cloud keeps all points.

    Args:
        count: number of points to keep, at least 1.
        random_start: start at a random point, drawn from torch's generator; False: at the first.

    Raises:
        TypeError: the data is a Batch, or pos is not floating point.
        ValueError: count < 1; pos is missing or not finite.
    """

    def __init__(self, count: int, random_start: bool = True) -> None:
        self.count = check_count(count, 1)
        self.random_start = random_start

    def forward(self, data: Data) -> Data:
        """The data with the selected points."""
        refuse_batch(data, type(self).__name__)
        pos = positions(data, type(self).__name__)
        indices = fps(pos, data.get("batch"), random_start=self.random_start, count=self.count)
        return data.subgraph(indices)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.count}, random_start={self.random_start})"
