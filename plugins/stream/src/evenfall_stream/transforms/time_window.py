"""A slice of a recording, by time."""

from __future__ import annotations

from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from .events import events_of, select_events, start_at_zero, uniform


@functional_transform("time_window")
class TimeWindow(BaseTransform):
    r"""Keep the events of a time window, and shift time so that the first of them is at 0.

    .. math:: a \le t_i \le a + \mathrm{length}, \qquad
        a \sim U(t_{\mathrm{first}}, \max(t_{\mathrm{first}}, t_{\mathrm{last}} - \mathrm{length}))

    Takes and returns events, Data(x, pos), sorted by time; draws from torch's generator.

    Args:
        length: of the window in milliseconds, above 0.
        random: whether a is random as above; False: a is the time of the first event.

    Raises:
        TypeError: the data is a Batch, or pos is not floating point.
        ValueError: length <= 0; pos is missing or not finite.
    """

    def __init__(self, length: float, random: bool = True) -> None:
        if not length > 0:
            raise ValueError(f"length must be positive, got {length}")
        self.length, self.random = length, random

    def forward(self, data: Data) -> Data:
        """The data with the events of the window."""
        time = events_of(data, type(self).__name__)[:, 0]
        if not len(time):
            return data
        start, last = float(time[0]), float(time[-1]) - self.length
        if self.random and last > start:
            start = uniform(start, last)
        return start_at_zero(select_events(data, (time >= start) & (time <= start + self.length)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.length}, random={self.random})"
