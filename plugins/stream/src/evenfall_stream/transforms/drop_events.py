"""Dropping single events."""

from __future__ import annotations

import torch
from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from .events import check_probability, events_of, select_events, uniform


@functional_transform("drop_events")
class DropEvents(BaseTransform):
    r"""Drop each event independently with the same probability.

    .. math:: \Pr(\text{event dropped}) = q, \qquad q \sim U(p_0, p_1) \text{ per recording}

    Takes and returns events, Data(x, pos); draws from torch's generator.

    Args:
        p: the probability, or the range (p_0, p_1) from which it is drawn for each recording.

    Raises:
        TypeError: the data is a Batch, or pos is not floating point.
        ValueError: p is not between 0 and 1, or p_0 > p_1; pos is missing or not finite.

    Source: Event-SSM, https://arxiv.org/abs/2404.18508.
    """

    def __init__(self, p: float | tuple[float, float] = 0.1) -> None:
        ends = (p, p) if isinstance(p, (int, float)) else tuple(p)
        if len(ends) != 2 or check_probability(ends[0]) > check_probability(ends[1]):
            raise ValueError(f"p must be a probability or a range (low, high), got {p}")
        low, high = ends
        self.low, self.high = low, high

    def forward(self, data: Data) -> Data:
        """The data with the remaining events."""
        pos = events_of(data, type(self).__name__)
        probability = uniform(self.low, self.high)
        return select_events(data, torch.rand(len(pos), device=pos.device) >= probability)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p=({self.low}, {self.high}))"
