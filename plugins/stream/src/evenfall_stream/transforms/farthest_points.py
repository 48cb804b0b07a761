"""A cloud thinned to points far from one another."""

from __future__ import annotations

from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from ..neighbors import fps
from .reading import positions, refuse_batch


@functional_transform("farthest_points")
class FarthestPoints(BaseTransform):
    r"""Keep `count` points of a cloud, each the farthest from those chosen before.

    .. math:: i_{m+1} = \arg\max_j \min_{l \le m} \lVert x_j - x_{i_l} \rVert

    See `evenfall_stream.neighbors.fps`; torch_geometric's `FixedPoints` chooses at random. Takes
    Data with pos (N, D) and returns it with every attribute of the nodes cut to the chosen points,
    in the order of choice; edges between chosen points are kept and renumbered. A smaller cloud
    keeps all its points.

    Args:
        count: points to keep, at least 1.
        random_start: begin at any point, drawn from torch's generator; False: at the first.

    Raises:
        TypeError: the data is a Batch already, or its pos not floating point.
        ValueError: count < 1; the data has no finite pos.
    """

    def __init__(self, count: int, random_start: bool = True) -> None:
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        self.count = count
        self.random_start = random_start

    def forward(self, data: Data) -> Data:
        """Data of the chosen points."""
        refuse_batch(data, type(self).__name__)
        pos = positions(data, type(self).__name__)
        kept = fps(pos, data.get("batch"), random_start=self.random_start, count=self.count)
        return data.subgraph(kept)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.count}, random_start={self.random_start})"
