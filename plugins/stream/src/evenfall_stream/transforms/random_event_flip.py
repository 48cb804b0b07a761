"""A recording mirrored."""

from __future__ import annotations

from collections.abc import Sequence

from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from .events import chance, checked_chance, checked_sensor, events_of


@functional_transform("random_event_flip")
class RandomEventFlip(BaseTransform):
    r"""With chance p, mirror a recording along one sensor coordinate.

    .. math:: c_{i,a} \leftarrow S_a - 1 - c_{i,a}

    torch_geometric's `RandomFlip` changes the sign, which leaves the sensor. Takes and returns
    events, Data(x, pos); draws from torch's generator.

    Args:
        sensor_size: S, (width, height) in pixels, or (channels,).
        axis: a, the sensor coordinate: 0 for x, 1 for y.
        p: the chance.

    Raises:
        TypeError: the data is a Batch already, or its pos not floating point.
        ValueError: an argument out of its range; the data has no finite pos of
            that many coordinates.
    """

    def __init__(self, sensor_size: Sequence[int], axis: int = 0, p: float = 0.5) -> None:
        self.sensor_size = checked_sensor(sensor_size)
        if not 0 <= axis < len(self.sensor_size):
            raise ValueError(f"axis must lie in 0 to {len(self.sensor_size) - 1}, got {axis}")
        self.axis, self.p = axis, checked_chance(p)

    def forward(self, data: Data) -> Data:
        """Data with the new pos."""
        pos = events_of(data, type(self).__name__, len(self.sensor_size))
        if chance(self.p):
            pos = pos.clone()
            pos[:, 1 + self.axis] = self.sensor_size[self.axis] - 1 - pos[:, 1 + self.axis]
            data.pos = pos
        return data

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.sensor_size}, axis={self.axis}, p={self.p})"
