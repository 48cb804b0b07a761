"""Random movement of each event on the sensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from .events import check_outside, check_sensor_size, events_of, snap_to_pixels


@functional_transform("spatial_jitter")
class SpatialJitter(BaseTransform):
    r"""Move each event on the sensor by its own random amount.

    .. math:: c_i \leftarrow \mathrm{round}(c_i + \epsilon_i), \qquad
        \epsilon_{i,a} \sim \mathcal{N}(0, \mathrm{std}^2)

    for every sensor coordinate a; times stay. Takes and returns events, Data(x, pos); draws from
    torch's generator.

    Args:
        std: standard deviation of the movement in pixels, not negative.
        sensor_size: (width, height) in pixels, or (channels,).
        outside: "drop" events that leave the sensor, or "roll": wrap their coordinates around.

    Raises:
        TypeError: the data is a Batch, or pos is not floating point.
        ValueError: an argument is out of range; pos is missing, not finite or has another number of
            coordinates.

    Source: Event-SSM, https://arxiv.org/abs/2404.18508.
    """

    def __init__(self, std: float, sensor_size: Sequence[int], outside: str = "drop") -> None:
        if not std >= 0:
            raise ValueError(f"std must not be negative, got {std}")
        self.std = std
        self.sensor_size = check_sensor_size(sensor_size)
        self.outside = check_outside(outside)

    def forward(self, data: Data) -> Data:
        """The data with the moved events."""
        place = events_of(data, type(self).__name__, len(self.sensor_size))[:, 1:]
        target = place + self.std * torch.randn_like(place)
        return snap_to_pixels(data, target, self.sensor_size, self.outside)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.std}, {self.sensor_size}, outside={self.outside!r})"
