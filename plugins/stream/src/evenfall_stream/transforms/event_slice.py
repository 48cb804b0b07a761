"""A slice of a recording, by number of events."""

from __future__ import annotations

import torch
from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from .events import check_count, events_of, select_events, start_at_zero


@functional_transform("event_slice")
class EventSlice(BaseTransform):
    r"""Keep `count` consecutive events, and shift time so that the first of them is at 0.

    A recording with fewer events keeps them all. Takes and returns events, Data(x, pos); draws from
    torch's generator.

    Args:
        count: number of events to keep, at least 1.
        random: start at a random event; False: at the first.

    Raises:
        TypeError: the data is a Batch, or pos is not floating point.
        ValueError: count < 1; pos is missing or not finite.

    Source: Event-SSM, https://arxiv.org/abs/2404.18508, which trains on slices of 65,536 events
    and tests on whole recordings.
    """

    def __init__(self, count: int, random: bool = True) -> None:
        self.count, self.random = check_count(count, 1), random

    def forward(self, data: Data) -> Data:
        """The data with the events of the slice."""
        spare = len(events_of(data, type(self).__name__)) - self.count
        start = int(torch.randint(spare + 1, ())) if self.random and spare > 0 else 0
        indices = torch.arange(start, min(start + self.count, spare + self.count))
        return start_at_zero(select_events(data, indices.to(data.pos.device)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.count}, random={self.random})"
