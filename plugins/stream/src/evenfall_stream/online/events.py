"""Pushed events checked, numbered and put on one clock.

All of it in NumPy on the CPU: for the few events of a push its calls cost less than torch's, and
times stay in float64 whatever the device of the model can do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..checks import check_features, check_floating

Ids = NDArray[np.int64]
Times = NDArray[np.float64]


class Clock(NamedTuple):
    """Where time stands, in milliseconds; NaN before the first event.

    Attributes:
        raw: the last time as it came.
        time: the same with the periods that have passed.
        wraps: how many those are.
    """

    raw: float = math.nan
    time: float = math.nan
    wraps: int = 0


class EventReader:
    """Events of one sensor to the ids of `event_embedding.event_ids` and times as they came."""

    def __init__(self, sensor_size: Sequence[int], polarities: int) -> None:
        self.columns = 1 + len(sensor_size)
        self.extents = np.array([*sensor_size, polarities], np.float64)
        self.strides = np.cumprod([1.0, *sensor_size])

    def __call__(self, x: Tensor, pos: Tensor) -> tuple[Ids, Times]:
        """(n, 1) polarities and (n, 1 + k) times and coordinates to (n,) ids and (n,) times.

        Raises:
            ValueError: shapes that do not fit, times that are not finite, an event outside the
                sensor or of an unknown polarity.
            TypeError: x or pos not floating point.
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
            f"{name} must lie in 0 to {int(self.extents[axis]) - 1} "
            f"({tuple(int(extent) for extent in self.extents[:-1])} sensor, "
            f"{int(self.extents[-1])} polarities), got {values[at, axis]:g} at event {at}"
        )


def advance_clock(clock: Clock, raw: Times, wrap: float | None) -> tuple[Clock, Times]:
    """The clock after (n >= 1,) times, and these on a scale that never starts again.

    Args:
        clock: after the events before.
        raw: finite times as they came, in milliseconds.
        wrap: the period of the sensor's clock: a time more than half of it before the time before
            it begins the next period. None for a clock that has none.

    Raises:
        ValueError: times decrease.
    """
    times, wraps = raw, clock.wraps
    if wrap is not None:
        periods = clock.wraps + np.cumsum(steps_after(clock.raw, raw) < -wrap / 2)
        times, wraps = raw + wrap * periods, int(periods[-1])
    moves = steps_after(clock.time, times)
    if moves.min() < 0:
        at = int(np.argmax(moves < 0))
        hint = "; if the sensor's clock wraps around, pass its period as wrap" * (wrap is None)
        raise ValueError(
            f"timestamps must not decrease: event {at} of the push is {-moves[at]:g} ms earlier "
            f"than the previous one{hint}"
        )
    return Clock(float(raw[-1]), float(times[-1]), wraps), times


def steps_after(before: float, times: Times) -> Times:
    """(n >= 1,) times to the steps before each; 0 for the first ever, before which is NaN."""
    steps = np.empty_like(times)
    steps[0] = 0 if math.isnan(before) else times[0] - before
    np.subtract(times[1:], times[:-1], out=steps[1:])
    return steps
