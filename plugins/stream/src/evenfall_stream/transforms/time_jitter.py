"""Random change of the time of each event."""

from __future__ import annotations

import torch
from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from .events import events_of, order_by_time


@functional_transform("time_jitter")
class TimeJitter(BaseTransform):
    r"""Change the time of each event by its own random amount, then sort the events by time.

    .. math:: t_i \leftarrow \max(0, t_i + \epsilon_i), \qquad
        \epsilon_i \sim \mathcal{N}(0, \mathrm{std}^2)

    Takes and returns events, Data(x, pos); draws from torch's generator.

    Args:
        std: standard deviation of the change in milliseconds, not negative.

    Raises:
        TypeError: the data is a Batch, or pos is not floating point.
        ValueError: std is negative; pos is missing or not finite.

    Source: Event-SSM, https://arxiv.org/abs/2404.18508.
    """

    def __init__(self, std: float = 1.0) -> None:
        if not std >= 0:
            raise ValueError(f"std must not be negative, got {std}")
        self.std = std

    def forward(self, data: Data) -> Data:
        """The data with the new times, sorted."""
        pos = events_of(data, type(self).__name__).clone()
        pos[:, 0] = (pos[:, 0] + self.std * torch.randn_like(pos[:, 0])).clamp(min=0)
        data.pos = pos
        return order_by_time(data)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.std})"
