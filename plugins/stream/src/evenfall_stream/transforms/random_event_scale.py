"""A recording made larger or smaller."""

from __future__ import annotations

from collections.abc import Sequence

from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from .events import checked_outside, checked_sensor, events_of, snap_to_pixels, uniform


@functional_transform("random_event_scale")
class RandomEventScale(BaseTransform):
    r"""Scale a recording about the middle of the sensor, to the nearest pixels; times stay.

    .. math:: c_i \leftarrow \mathrm{round}(m + s (c_i - m)), \qquad
        s \sim U(\mathrm{low}, \mathrm{high}), \quad m = (S - 1) / 2

    Takes and returns events, Data(x, pos); draws from torch's generator.

    Args:
        low: the smallest factor, above 0.
        high: the largest one.
        sensor_size: S, (width, height) in pixels, or (channels,).
        outside: "drop" events that leave the sensor, or "roll" them in at the other side.

    Raises:
        TypeError: the data is a Batch already, or its pos not floating point.
        ValueError: an argument out of its range; the data has no finite pos of
            that many coordinates.

    Source: Event-SSM, https://arxiv.org/abs/2404.18508.
    """

    def __init__(
        self, low: float, high: float, sensor_size: Sequence[int], outside: str = "drop"
    ) -> None:
        if not 0 < low <= high:
            raise ValueError(f"factors must be 0 < low <= high, got low {low}, high {high}")
        self.low, self.high = low, high
        self.sensor_size = checked_sensor(sensor_size)
        self.outside = checked_outside(outside)

    def forward(self, data: Data) -> Data:
        """Data with the events where they have moved to."""
        place = events_of(data, type(self).__name__, len(self.sensor_size))[:, 1:]
        middle = (place.new_tensor(self.sensor_size) - 1) / 2
        moved = middle + uniform(self.low, self.high) * (place - middle)
        return snap_to_pixels(data, moved, self.sensor_size, self.outside)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.low:.4g}, {self.high:.4g}, {self.sensor_size}, "
            f"outside={self.outside!r})"
        )
