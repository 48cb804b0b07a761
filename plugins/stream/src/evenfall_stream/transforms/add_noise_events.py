"""Noise events."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from .events import check_count, check_sensor_size, events_of, order_by_time


@functional_transform("add_noise_events")
class AddNoiseEvents(BaseTransform):
    r"""Add random events, uniform in time, over the sensor and over the polarities.

    Their times lie between the first and the last event; an empty recording stays empty. Takes and
    returns events, Data(x, pos); draws from torch's generator.

    Args:
        count: number of events to add, not negative.
        sensor_size: (width, height) in pixels, or (channels,).
        polarities: x is drawn from 0 to polarities - 1.

    Raises:
        TypeError: the data is a Batch, or pos is not floating point.
        ValueError: an argument is out of range; pos is missing, not finite or has another number of
            coordinates; x does not have shape (N, 1); or the data has other attributes per event,
            which noise lacks.

    Source: Event-SSM, https://arxiv.org/abs/2404.18508.
    """

    def __init__(self, count: int, sensor_size: Sequence[int], polarities: int = 2) -> None:
        self.count = check_count(count, 0)
        self.polarities = check_count(polarities, 1, "polarities")
        self.sensor_size = check_sensor_size(sensor_size)

    def forward(self, data: Data) -> Data:
        """Data with the events and the noise, times not decreasing."""
        pos = events_of(data, type(self).__name__, len(self.sensor_size))
        x = data.get("x")
        if x is None or tuple(x.shape) != (len(pos), 1):
            got = None if x is None else tuple(x.shape)
            raise ValueError(f"{type(self).__name__} needs data.x of shape (events, 1), got {got}")
        names = [str(name) for name in data.keys()]  # noqa: SIM118  # Data iterates over pairs
        others = [n for n in names if n not in ("x", "pos", "y") and data.is_node_attr(n)]
        others += ["y"] if len(pos) > 1 and "y" in data and data.is_node_attr("y") else []
        if others:
            raise ValueError(f"{type(self).__name__} has no values of {others} for noise events")
        if not len(pos):
            return data
        first, last = pos[0, 0], pos[-1, 0]
        noise = torch.rand(self.count, 2 + len(self.sensor_size), device=pos.device).to(pos.dtype)
        extent = noise.new_tensor([*self.sensor_size, self.polarities])
        # rand() * extent can round to extent.
        values = torch.minimum((noise[:, 1:] * extent).floor(), extent - 1)
        times = (first + noise[:, :1] * (last - first)).clamp(first, last)
        data.pos = torch.cat([pos, torch.cat([times, values[:, :-1]], 1)])
        data.x = torch.cat([x, values[:, -1:].to(x.dtype)])
        return order_by_time(data)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.count}, {self.sensor_size})"
