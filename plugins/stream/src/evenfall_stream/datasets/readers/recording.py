"""A raw recording of events, and its checks.

N events
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from evenfall.checks import check_choice

if TYPE_CHECKING:
    from torch_geometric.data import Data

_FLOAT32_SPAN = 16_384_000
"""Microseconds up to which milliseconds in float32 resolve a microsecond."""


class Recording(NamedTuple):
    """Raw events in the order of the file: four arrays of length N.

    Attributes:
        t: (N,) int64, time in microseconds.
        x: (N,) int64, column of the pixel, or the channel of an audio sensor.
        y: (N,) int64, row of the pixel; None for one-dimensional sensors.
        p: (N,) int64, polarity: 1 brighter (ON), 0 darker (OFF).
    """

    t: np.ndarray
    x: np.ndarray
    y: np.ndarray | None
    p: np.ndarray

    def to_data(self, y: int | None = None) -> Data:
        """Convert to Data(x=(N, 1) polarity, pos=(N, 1 + k), y=(1,) class), without checks.

        pos[:, 0] is the time in milliseconds since the first event, pos[:, 1:] the coordinates.
        x and pos are float32; pos is float64 for recordings of 16.384 s or longer, because float32
        does not resolve a microsecond there. Without `y` the result has no class.
        """
        import torch
        from torch_geometric.data import Data

        coordinates = [self.x] if self.y is None else [self.x, self.y]
        since = self.t - self.t[:1]
        long = len(since) > 0 and since[-1] >= _FLOAT32_SPAN
        dtype = np.float64 if long else np.float32
        pos: np.ndarray = np.empty((len(since), 1 + len(coordinates)), dtype)
        pos[:, 0] = since / 1000
        for column, values in enumerate(coordinates, start=1):
            pos[:, column] = values
        x = torch.from_numpy(np.asarray(self.p, np.float32)[:, None])
        data = Data(x=x, pos=torch.from_numpy(pos))
        if y is not None:
            data.y = torch.tensor([y])
        return data


def check_recording(
    recording: Recording,
    sensor_size: Sequence[int],
    *,
    wrap: int | None = None,
    outside: Literal["raise", "drop"] = "raise",
) -> Recording:
    """Check a recording, and return it with times that do not wrap around.

    Args:
        recording: the result of a reader.
        sensor_size: (width, height) in pixels, or (channels,).
        wrap: the period of the recording's clock in microseconds: 2**23 for N-MNIST, 2**32 for
            AEDAT 2.0. If time decreases by more than half a period, the clock has wrapped around
            and a period is added; any other decrease is an error. None for a clock that does not
            wrap around.
        outside: "raise" for an error if an event is outside the sensor, "drop" to drop it.

    Raises:
        TypeError: an array is not integer.
        ValueError: the arrays differ in length or are not 1-D; sensor_size has another number of
            dimensions; times decrease or are not between 0 and wrap - 1; a polarity is not 0 or 1;
            an event is outside the sensor. The message names the first such event.
    """
    _check_arrays(recording)
    extents = tuple(sensor_size)
    coordinates = _coordinates(recording)
    if len(extents) != len(coordinates):
        raise ValueError(
            f"sensor_size must have {len(coordinates)} entries for this recording, got {extents}"
        )
    check_choice("outside", outside, ("raise", "drop"))
    recording = recording._replace(t=_unwrap_times(recording.t, wrap))
    _refuse(
        (recording.p < 0) | (recording.p > 1),
        lambda at: f"p must be 0 or 1, got {recording.p[at]} at event {at}",
    )
    inside: np.ndarray = np.ones(len(recording.t), bool)
    for values, extent in zip(coordinates.values(), extents, strict=True):
        inside &= (values >= 0) & (values < extent)
    if outside == "drop" and not inside.all():
        t, x, y, p = recording
        return Recording(t[inside], x[inside], None if y is None else y[inside], p[inside])
    _refuse(
        ~inside,
        lambda at: (
            f"events must be on the sensor of size {extents}, got "
            + ", ".join(f"{name} = {values[at]}" for name, values in coordinates.items())
            + f" at event {at}"
        ),
    )
    return recording


def _coordinates(recording: Recording) -> dict[str, np.ndarray]:
    coordinates = {"x": recording.x, "y": recording.y}
    return {name: values for name, values in coordinates.items() if values is not None}


def _check_arrays(recording: Recording) -> None:
    arrays = {"t": recording.t, **_coordinates(recording), "p": recording.p}
    for name, array in arrays.items():
        if not np.issubdtype(array.dtype, np.integer):
            raise TypeError(f"{name} must be integers, got {array.dtype}")
        if array.ndim != 1:
            raise ValueError(f"{name} must have shape (events,), got {array.shape}")
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{length} {name}" for name, length in lengths.items())
        raise ValueError(f"t, x, y and p must have equal lengths, got {counts}")


def _unwrap_times(t: np.ndarray, wrap: int | None) -> np.ndarray:
    t = t.astype(np.int64, copy=False)
    if wrap is not None:
        if wrap < 1:
            raise ValueError(f"wrap must be a positive number of microseconds, got {wrap}")
        _refuse(
            (t < 0) | (t >= wrap),
            lambda at: f"t must be between 0 and wrap - 1 = {wrap - 1}, got {t[at]} at event {at}",
        )
        wraps = np.diff(t, prepend=t[:1]) < -(wrap // 2)
        t = t + wrap * np.cumsum(wraps)
    hint = "; if the clock wraps around, pass its period as wrap" if wrap is None else ""
    _refuse(
        np.diff(t, prepend=t[:1]) < 0,
        lambda at: (
            f"timestamps must not decrease, got {t[at]} us after {t[at - 1]} us at event {at}{hint}"
        ),
    )
    return t


def _refuse(invalid: np.ndarray, message: Callable[[int], str]) -> None:
    if invalid.any():
        raise ValueError(message(int(invalid.argmax())))
