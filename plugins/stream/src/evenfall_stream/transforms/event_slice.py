"""A run of so many events."""

from __future__ import annotations

import torch
from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from .events import events_of, select_events, start_at_zero


@functional_transform("event_slice")
class EventSlice(BaseTransform):
    r"""Keep `count` neighbouring events, and let time start at the first of them.

    A recording of no more events is kept whole. Takes and returns events, Data(x, pos); draws from
    torch's generator.

    Args:
        count: events to keep, at least 1.
        random: start anywhere that `count` events follow; otherwise at the first event.

    Raises:
        TypeError: the data is a Batch already, or its pos not floating point.
        ValueError: count < 1; the data has no finite pos.

    Source: Event-SSM, https://arxiv.org/abs/2404.18508, which trains on slices of 65,536 events
    and tests on whole recordings.
    """

    def __init__(self, count: int, random: bool = True) -> None:
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        self.count, self.random = int(count), random

    def forward(self, data: Data) -> Data:
        """Data with the events that are kept."""
        spare = len(events_of(data, type(self).__name__)) - self.count
        start = int(torch.randint(spare + 1, ())) if self.random and spare > 0 else 0
        kept = torch.arange(start, min(start + self.count, spare + self.count))
        return start_at_zero(select_events(data, kept.to(data.pos.device)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.count}, random={self.random})"
