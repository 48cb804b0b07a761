"""Checks of the pushed events, their ids, and times without wraps of the clock.

In NumPy on the CPU: for the few events of a push its calls cost less than torch's, and times stay
in float64 on devices that lack it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..checks import check_features, check_floating

Ids: TypeAlias = NDArray[np.int64]
Times: TypeAlias = NDArray[np.float64]


class Clock(NamedTuple):
    """The sensor's clock, in milliseconds; NaN before the first event.

    Attributes:
        raw: the last time as the sensor sent it.
        time: the same plus the periods that have passed.
        wraps: the number of those periods.
    """

    raw: float = math.nan
    time: float = math.nan
    wraps: int = 0


class EventReader:
    """Converts events of one sensor to the ids of `event_embedding.event_ids` and raw times."""

    def __init__(self, sensor_size: Sequence[int], polarities: int) -> None:
        self.columns = 1 + len(sensor_size)
        self.extents = np.array([*sensor_size, polarities], np.float64)
        self.strides = np.cumprod([1.0, *sensor_size])

    def __call__(self, x: Tensor, pos: Tensor) -> tuple[Ids, Times]:
        """(n, 1) polarities and (n, 1 + k) times and coordinates to (n,) ids and (n,) times.

        Raises:
            ValueError: shapes do not match, times are not finite, or an event is outside the
                sensor or has an invalid polarity.
            TypeError: x or pos is not floating point.
        """
        self._check_shapes(x, pos)
        rows = pos.detach().cpu().double().numpy()
        polarity = x.detach().cpu().double().numpy()
        if not np.isfinite(rows[:, 0]).all():
            at = int(np.argmin(np.isfinite(rows[:, 0])))
            raise ValueError(f"pos must be finite, got {rows[at].tolist()} at event {at}")
        values = np.rint(np.concatenate([rows[:, 1:], polarity], 1))
        inside = (values >= 0) & (values < self.extents)  # False for NaN too
        if not inside.all():
            self._refuse(values, inside)
        return (values @ self.strides).astype(np.int64), rows[:, 0]

    def _check_shapes(self, x: Tensor, pos: Tensor) -> None:
        check_floating("pos", pos)
        if pos.dim() != 2 or pos.shape[1] != self.columns:
            raise ValueError(
                f"pos must have shape (events, {self.columns}): time and {self.columns - 1} "
                f"sensor coordinates, got {tuple(pos.shape)}"
            )
        check_features(x, pos, 1)

    def _refuse(self, values: NDArray[np.float64], inside: NDArray[np.bool_]) -> None:
        at, axis = (int(place) for place in np.argwhere(~inside)[0])
        name = "x" if axis == self.columns - 1 else f"pos column {axis + 1}"
        raise ValueError(
            f"{name} must be between 0 and {int(self.extents[axis]) - 1} "
            f"(sensor_size {tuple(int(extent) for extent in self.extents[:-1])}, "
            f"{int(self.extents[-1])} polarities), got {values[at, axis]:g} at event {at}"
        )


def advance_clock(clock: Clock, raw: Times, wrap: float | None) -> tuple[Clock, Times]:
    """The clock after (n >= 1,) raw times, and these times without wraps of the sensor's clock.

    Args:
        clock: after the previous events.
        raw: finite times as the sensor sent them, in milliseconds.
        wrap: the period of the sensor's clock: a time more than half a period before the previous
            one begins the next period. None for a clock that does not wrap around.

    Raises:
        ValueError: times decrease.
    """
    times, wraps = raw, clock.wraps
    if wrap is not None:
        periods = clock.wraps + np.cumsum(steps_after(clock.raw, raw) < -wrap / 2)
        times, wraps = raw + wrap * periods, int(periods[-1])
    steps = steps_after(clock.time, times)
    if steps.min() < 0:
        at = int(np.argmax(steps < 0))
        hint = "; if the sensor's clock wraps around, pass its period as wrap" * (wrap is None)
        raise ValueError(
            f"timestamps must not decrease: event {at} of the push is {-steps[at]:g} ms earlier "
            f"than the previous one{hint}"
        )
    return Clock(float(raw[-1]), float(times[-1]), wraps), times


def steps_after(previous: float, times: Times) -> Times:
    """(n >= 1,) times to the steps before them; the first is 0 if the previous time is NaN."""
    steps = np.empty_like(times)
    steps[0] = 0 if math.isnan(previous) else times[0] - previous
    np.subtract(times[1:], times[:-1], out=steps[1:])
    return steps
