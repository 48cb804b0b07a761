"""Times moved one by one."""

from __future__ import annotations

import torch
from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from .events import events_of, order_by_time


@functional_transform("time_jitter")
class TimeJitter(BaseTransform):
    r"""Move each event in time by an amount of its own, then put the events in order again.

    .. math:: t_i \leftarrow \max(0, t_i + \epsilon_i), \qquad
        \epsilon_i \sim \mathcal{N}(0, \mathrm{std}^2)

    Takes and returns events, Data(x, pos); draws from torch's generator.

    Args:
        std: of the movement in the unit of the times, milliseconds; not negative.

    Raises:
        TypeError: the data is a Batch already, or its pos not floating point.
        ValueError: std is negative; the data has no finite pos.

    Source: Event-SSM, https://arxiv.org/abs/2404.18508.
    """

    def __init__(self, std: float = 1.0) -> None:
        if not std >= 0:
            raise ValueError(f"std must not be negative, got {std}")
        self.std = std

    def forward(self, data: Data) -> Data:
        """Data with the new times, not decreasing."""
        pos = events_of(data, type(self).__name__).clone()
        pos[:, 0] = (pos[:, 0] + self.std * torch.randn_like(pos[:, 0])).clamp(min=0)
        data.pos = pos
        return order_by_time(data)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.std})"
