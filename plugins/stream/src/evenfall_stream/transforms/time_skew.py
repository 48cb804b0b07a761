"""Random scaling of time."""

from __future__ import annotations

from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from .events import events_of, uniform


@functional_transform("time_skew")
class TimeSkew(BaseTransform):
    r"""Multiply all times of a recording by one random factor.

    .. math:: t_i \leftarrow f t_i, \qquad f \sim U(\mathrm{low}, \mathrm{high})

    Takes and returns events, Data(x, pos); draws from torch's generator.

    Args:
        low: the smallest factor, above 0.
        high: the largest factor.

    Raises:
        TypeError: the data is a Batch, or pos is not floating point.
        ValueError: not 0 < low <= high; pos is missing or not finite.

    Source: Event-SSM, https://arxiv.org/abs/2404.18508.
    """

    def __init__(self, low: float = 0.9, high: float = 1.1) -> None:
        if not 0 < low <= high:
            raise ValueError(f"factors must be 0 < low <= high, got low {low}, high {high}")
        self.low, self.high = low, high

    def forward(self, data: Data) -> Data:
        """The data with the new times."""
        pos = events_of(data, type(self).__name__).clone()
        pos[:, 0] *= uniform(self.low, self.high)
        data.pos = pos
        return data

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.low:.4g}, {self.high:.4g})"
