"""Random mirroring of a recording."""

from __future__ import annotations

from collections.abc import Sequence

from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from .events import bernoulli, check_probability, check_sensor_size, events_of


@functional_transform("random_event_flip")
class RandomEventFlip(BaseTransform):
    r"""With probability p, mirror a recording along one sensor coordinate.

    .. math:: c_{i,a} \leftarrow S_a - 1 - c_{i,a}

    torch_geometric's `RandomFlip` negates coordinates, which moves events off the sensor. Takes and
    returns events, Data(x, pos); draws from torch's generator.

    Args:
        sensor_size: S, (width, height) in pixels, or (channels,).
        axis: a, the sensor coordinate: 0 for x, 1 for y.
        p: the probability.

    Raises:
        TypeError: the data is a Batch, or pos is not floating point.
        ValueError: an argument is out of range; pos is missing, not finite or has another number of
            coordinates.
    """

    def __init__(self, sensor_size: Sequence[int], axis: int = 0, p: float = 0.5) -> None:
        self.sensor_size = check_sensor_size(sensor_size)
        if not 0 <= axis < len(self.sensor_size):
            raise ValueError(f"axis must be between 0 and {len(self.sensor_size) - 1}, got {axis}")
        self.axis, self.p = axis, check_probability(p)

    def forward(self, data: Data) -> Data:
        """The data with the new pos."""
        pos = events_of(data, type(self).__name__, len(self.sensor_size))
        if bernoulli(self.p):
            pos = pos.clone()
            pos[:, 1 + self.axis] = self.sensor_size[self.axis] - 1 - pos[:, 1 + self.axis]
            data.pos = pos
        return data

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.sensor_size}, axis={self.axis}, p={self.p})"
