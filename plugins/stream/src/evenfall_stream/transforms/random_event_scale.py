"""Random scaling of a recording."""

from __future__ import annotations

from collections.abc import Sequence

from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from .events import check_outside, check_sensor_size, events_of, snap_to_pixels, uniform


@functional_transform("random_event_scale")
class RandomEventScale(BaseTransform):
    r"""Scale a recording about the centre of the sensor and round to the nearest pixels.

    .. math:: c_i \leftarrow \mathrm{round}(m + s (c_i - m)), \qquad
        s \sim U(\mathrm{low}, \mathrm{high}), \quad m = (S - 1) / 2

    Times stay. Takes and returns events, Data(x, pos); draws from torch's generator.

    Args:
        low: the smallest factor, above 0.
        high: the largest factor.
        sensor_size: S, (width, height) in pixels, or (channels,).
        outside: "drop" events that leave the sensor, or "roll": wrap their coordinates around.

    Raises:
        TypeError: the data is a Batch, or pos is not floating point.
        ValueError: an argument is out of range; pos is missing, not finite or has another number of
            coordinates.

    Source: Event-SSM, https://arxiv.org/abs/2404.18508.
    """

    def __init__(
        self, low: float, high: float, sensor_size: Sequence[int], outside: str = "drop"
    ) -> None:
        if not 0 < low <= high:
            raise ValueError(f"factors must be 0 < low <= high, got low {low}, high {high}")
        self.low, self.high = low, high
        self.sensor_size = check_sensor_size(sensor_size)
        self.outside = check_outside(outside)

    def forward(self, data: Data) -> Data:
        """The data with the scaled events."""
        place = events_of(data, type(self).__name__, len(self.sensor_size))[:, 1:]
        middle = (place.new_tensor(self.sensor_size) - 1) / 2
        target = middle + uniform(self.low, self.high) * (place - middle)
        return snap_to_pixels(data, target, self.sensor_size, self.outside)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.low:.4g}, {self.high:.4g}, {self.sensor_size}, "
            f"outside={self.outside!r})"
        )
