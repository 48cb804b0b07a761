"""Dropping a chunk of events."""

from __future__ import annotations

import torch
from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from .events import bernoulli, check_probability, events_of, select_events, uniform


@functional_transform("drop_event_chunk")
class DropEventChunk(BaseTransform):
    r"""With probability p, drop one chunk of consecutive events.

    The chunk has :math:`\lfloor s N \rfloor` of the N events, :math:`s \sim U(0, \mathrm{most})`,
    and a random start. Takes and returns events, Data(x, pos); draws from torch's generator.

    Args:
        p: probability that a recording loses a chunk.
        most: the largest fraction of its events.

    Raises:
        TypeError: the data is a Batch, or pos is not floating point.
        ValueError: p or most is not between 0 and 1; pos is missing or not finite.

    Source: Event-SSM, https://arxiv.org/abs/2404.18508.
    """

    def __init__(self, p: float = 0.3, most: float = 0.1) -> None:
        self.p, self.most = check_probability(p), check_probability(most, "most")

    def forward(self, data: Data) -> Data:
        """The data without the chunk."""
        count = len(events_of(data, type(self).__name__))
        if not bernoulli(self.p):
            return data
        length = int(uniform(0, self.most) * count)
        start = int(torch.randint(count - length + 1, ()))
        mask = torch.ones(count, dtype=torch.bool, device=data.pos.device)
        mask[start : start + length] = False
        return select_events(data, mask)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p}, most={self.most})"
