"""Events that nothing caused."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from .events import checked_sensor, events_of, order_by_time


@functional_transform("add_noise_events")
class AddNoiseEvents(BaseTransform):
    r"""Add events at random: uniform in time, over the sensor and over the polarities.

    Their times lie between the first and the last event; a recording of no events has no duration
    and stays as it is. Takes and returns events, Data(x, pos); draws from torch's generator.

    Args:
        count: events to add, not negative.
        sensor_size: (width, height) in pixels, or (channels,).
        polarities: x is drawn from 0 to polarities - 1.

    Raises:
        TypeError: the data is a Batch already, or its pos not floating point.
        ValueError: an argument out of its range; the data has no finite pos of
            that many coordinates, or no x of shape (N, 1), or it has other attributes of
            events, which noise lacks.

    Source: Event-SSM, https://arxiv.org/abs/2404.18508.
    """

    def __init__(self, count: int, sensor_size: Sequence[int], polarities: int = 2) -> None:
        if not count >= 0:
            raise ValueError(f"count must not be negative, got {count}")
        if polarities < 1:
            raise ValueError(f"polarities must be at least 1, got {polarities}")
        self.count, self.polarities = int(count), polarities
        self.sensor_size = checked_sensor(sensor_size)

    def forward(self, data: Data) -> Data:
        """Data with the events and the noise, times not decreasing."""
        pos = events_of(data, type(self).__name__, len(self.sensor_size))
        x = data.get("x")
        if x is None or tuple(x.shape) != (len(pos), 1):
            got = None if x is None else tuple(x.shape)
            raise ValueError(f"{type(self).__name__} needs data.x of shape (events, 1), got {got}")
        others = [n for n in data.keys() if n not in ("x", "pos", "y") and data.is_node_attr(n)]
        others += ["y"] if len(pos) > 1 and "y" in data and data.is_node_attr("y") else []
        if others:
            raise ValueError(f"{type(self).__name__} cannot make {others} for the events it adds")
        if not len(pos):
            return data
        first, last = pos[0, 0], pos[-1, 0]
        noise = torch.rand(self.count, 2 + len(self.sensor_size), device=pos.device).to(pos.dtype)
        extent = noise.new_tensor([*self.sensor_size, self.polarities])
        # Rounding can bring rand() * extent to extent itself.
        chosen = torch.minimum((noise[:, 1:] * extent).floor(), extent - 1)
        times = (first + noise[:, :1] * (last - first)).clamp(first, last)
        data.pos = torch.cat([pos, torch.cat([times, chosen[:, :-1]], 1)])
        data.x = torch.cat([x, chosen[:, -1:].to(x.dtype)])
        return order_by_time(data)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.count}, {self.sensor_size})"
