"""Random rotation of a recording."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from .events import check_outside, check_sensor_size, events_of, snap_to_pixels, uniform


@functional_transform("random_event_rotate")
class RandomEventRotate(BaseTransform):
    r"""Rotate a recording about the centre of the sensor and round to the nearest pixels.

    .. math:: c_i \leftarrow \mathrm{round}(m + R(\alpha)(c_i - m)), \qquad
        \alpha \sim U(-\mathrm{degrees}, \mathrm{degrees}), \quad m = (S - 1) / 2

    Takes and returns events, Data(x, pos); draws from torch's generator.

    Args:
        degrees: the largest angle, not negative.
        sensor_size: S, (width, height) in pixels.
        outside: "drop" events that leave the sensor, or "roll": wrap their coordinates around.

    Raises:
        TypeError: the data is a Batch, or pos is not floating point.
        ValueError: an argument is out of range; pos is missing, not finite or does not have two
            sensor coordinates.

    Source: Event-SSM, https://arxiv.org/abs/2404.18508.
    """

    def __init__(self, degrees: float, sensor_size: Sequence[int], outside: str = "drop") -> None:
        if not degrees >= 0:
            raise ValueError(f"degrees must not be negative, got {degrees}")
        self.degrees = degrees
        self.sensor_size = check_sensor_size(sensor_size, 2)
        self.outside = check_outside(outside)

    def forward(self, data: Data) -> Data:
        """The data with the rotated events."""
        place = events_of(data, type(self).__name__, 2)[:, 1:]
        angle = math.radians(uniform(-self.degrees, self.degrees))
        cos, sin = math.cos(angle), math.sin(angle)
        middle = (place.new_tensor(self.sensor_size) - 1) / 2
        target = middle + (place - middle) @ place.new_tensor([[cos, sin], [-sin, cos]])
        return snap_to_pixels(data, target, self.sensor_size, self.outside)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.degrees}, {self.sensor_size}, outside={self.outside!r})"
        )
