"""Pixels moved one by one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from .events import checked_outside, checked_sensor, events_of, snap_to_pixels


@functional_transform("spatial_jitter")
class SpatialJitter(BaseTransform):
    r"""Move each event on the sensor by an amount of its own.

    .. math:: c_i \leftarrow \mathrm{round}(c_i + \epsilon_i), \qquad
        \epsilon_{i,a} \sim \mathcal{N}(0, \mathrm{std}^2)

    for every sensor coordinate a; times stay. Takes and returns events, Data(x, pos); draws from
    torch's generator.

    Args:
        std: of the movement in pixels, not negative.
        sensor_size: (width, height) in pixels, or (channels,).
        outside: "drop" events that leave the sensor, or "roll" them in at the other side.

    Raises:
        TypeError: the data is a Batch already, or its pos not floating point.
        ValueError: an argument out of its range; the data has no finite pos of
            that many coordinates.

    Source: Event-SSM, https://arxiv.org/abs/2404.18508.
    """

    def __init__(self, std: float, sensor_size: Sequence[int], outside: str = "drop") -> None:
        if not std >= 0:
            raise ValueError(f"std must not be negative, got {std}")
        self.std = std
        self.sensor_size = checked_sensor(sensor_size)
        self.outside = checked_outside(outside)

    def forward(self, data: Data) -> Data:
        """Data with the events where they have moved to."""
        place = events_of(data, type(self).__name__, len(self.sensor_size))[:, 1:]
        moved = place + self.std * torch.randn_like(place)
        return snap_to_pixels(data, moved, self.sensor_size, self.outside)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.std}, {self.sensor_size}, outside={self.outside!r})"
