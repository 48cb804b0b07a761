"""A run of events left out."""

from __future__ import annotations

import torch
from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from .events import chance, checked_chance, events_of, select_events, uniform


@functional_transform("drop_event_chunk")
class DropEventChunk(BaseTransform):
    r"""With chance p, leave out one run of neighbouring events.

    The run has :math:`\lfloor s N \rfloor` of the N events, :math:`s \sim U(0, \mathrm{most})`,
    and starts anywhere that it fits. Takes and returns events, Data(x, pos); draws from torch's
    generator.

    Args:
        p: the chance that a recording loses a run.
        most: the largest share of its events.

    Raises:
        TypeError: the data is a Batch already, or its pos not floating point.
        ValueError: p or most outside 0 to 1; the data has no finite pos.

    Source: Event-SSM, https://arxiv.org/abs/2404.18508.
    """

    def __init__(self, p: float = 0.3, most: float = 0.1) -> None:
        self.p, self.most = checked_chance(p), checked_chance(most, "most")

    def forward(self, data: Data) -> Data:
        """Data with the events before and after the run."""
        count = len(events_of(data, type(self).__name__))
        if not chance(self.p):
            return data
        length = int(uniform(0, self.most) * count)
        start = int(torch.randint(count - length + 1, ()))
        kept = torch.ones(count, dtype=torch.bool, device=data.pos.device)
        kept[start : start + length] = False
        return select_events(data, kept)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p}, most={self.most})"
