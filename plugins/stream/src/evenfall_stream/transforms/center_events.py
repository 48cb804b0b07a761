"""Moving a recording to the centre of the sensor."""

from __future__ import annotations

from collections.abc import Sequence

from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from .events import check_outside, check_sensor_size, events_of, snap_to_pixels


@functional_transform("center_events")
class CenterEvents(BaseTransform):
    r"""Shift all events by a whole number of pixels, so that their mean is in the centre.

    .. math:: c_i \leftarrow c_i + \mathrm{round}(m - \bar c), \qquad m = (S - 1) / 2

    Times stay. Takes and returns events, Data(x, pos); an empty recording stays empty.

    Args:
        sensor_size: S, (width, height) in pixels, or (channels,).
        outside: "drop" events that leave the sensor, or "roll": wrap their coordinates around.

    Raises:
        TypeError: the data is a Batch, or pos is not floating point.
        ValueError: an argument is out of range; pos is missing, not finite or has another number of
            coordinates.
    """

    def __init__(self, sensor_size: Sequence[int], outside: str = "drop") -> None:
        self.sensor_size = check_sensor_size(sensor_size)
        self.outside = check_outside(outside)

    def forward(self, data: Data) -> Data:
        """The data with the shifted events."""
        place = events_of(data, type(self).__name__, len(self.sensor_size))[:, 1:]
        if not len(place):
            return data
        middle = (place.new_tensor(self.sensor_size) - 1) / 2
        shift = (middle - place.double().mean(0)).round().to(place)
        return snap_to_pixels(data, place + shift, self.sensor_size, self.outside)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.sensor_size}, outside={self.outside!r})"
