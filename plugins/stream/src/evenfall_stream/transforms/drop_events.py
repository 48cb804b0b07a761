"""Events left out one by one."""

from __future__ import annotations

import torch
from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from .events import checked_chance, events_of, select_events, uniform


@functional_transform("drop_events")
class DropEvents(BaseTransform):
    r"""Leave out each event with the same chance, independently.

    .. math:: \Pr(\text{event dropped}) = q, \qquad q \sim U(p_0, p_1) \text{ once a recording}

    Takes and returns events, Data(x, pos); draws from torch's generator.

    Args:
        p: the chance, or the range (p_0, p_1) that it is drawn from for each recording.

    Raises:
        TypeError: the data is a Batch already, or its pos not floating point.
        ValueError: p outside 0 to 1, or a range that falls; the data has no finite pos.

    Source: Event-SSM, https://arxiv.org/abs/2404.18508.
    """

    def __init__(self, p: float | tuple[float, float] = 0.1) -> None:
        low, high = (p, p) if isinstance(p, (int, float)) else p
        if checked_chance(low) > checked_chance(high):
            raise ValueError(f"p must be a chance or a rising range, got {p}")
        self.low, self.high = low, high

    def forward(self, data: Data) -> Data:
        """Data with the events that stay."""
        pos = events_of(data, type(self).__name__)
        dropped = uniform(self.low, self.high)
        return select_events(data, torch.rand(len(pos), device=pos.device) >= dropped)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p=({self.low}, {self.high}))"
