"""A recording of events in its raw form, and the checks that every reader's result passes.

N events
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from torch_geometric.data import Data

_FLOAT32_SPAN = 16_384_000
"""Microseconds up to which float32 milliseconds are less than a microsecond apart."""


class Recording(NamedTuple):
    """Events as they were recorded, in the order of the file: four arrays of one length N.

    Attributes:
        t: (N,) int64, time in microseconds.
        x: (N,) int64, column of the pixel, or the channel of an audio sensor.
        y: (N,) int64, row of the pixel; None for sensors of one dimension.
        p: (N,) int64, polarity: 1 brighter (ON), 0 darker (OFF).
    """

    t: np.ndarray
    x: np.ndarray
    y: np.ndarray | None
    p: np.ndarray

    def to_data(self, y: int | None = None) -> Data:
        """As Data(x=(N, 1) polarity, pos=(N, 1 + k), y=(1,) class), without checks.

        pos[:, 0] is the time in milliseconds since the first event, pos[:, 1:] the coordinates.
        x is float32, and so is pos, but for recordings of 16.384 s or longer: those have pos in
        float64, since float32 would give the same time to events a microsecond apart. Without
        `y` the result has no class.
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
    """The recording with times that do not decrease and every event on the sensor.

    Args:
        recording: what a reader returned.
        sensor_size: (width, height) in pixels, or (channels,).
        wrap: microseconds after which the clock of the recording starts again at 0: 2**23 for
            N-MNIST, 2**32 for AEDAT 2.0. A fall by more than half of it is taken as the clock
            starting again, and the times go on from there; any other fall is an error. None for
            a clock that never starts again.
        outside: what becomes of events outside the sensor: an error, or left out.

    Raises:
        TypeError: an array that does not hold integers.
        ValueError: arrays of unequal lengths or more than one dimension; a sensor of other
            dimensions; times that run backwards, or lie outside 0 to wrap - 1; a polarity that is
            not 0 or 1; an event outside the sensor. The message names the first such event.
    """
    _check_arrays(recording)
    extents = tuple(sensor_size)
    coordinates = _coordinates(recording)
    if len(extents) != len(coordinates):
        raise ValueError(
            f"sensor_size must have {len(coordinates)} entries for this recording, got {extents}"
        )
    if outside not in ("raise", "drop"):
        raise ValueError(f"outside must be 'raise' or 'drop', got {outside!r}")
    recording = recording._replace(t=_running_times(recording.t, wrap))
    _refuse(
        (recording.p < 0) | (recording.p > 1),
        lambda at: f"p must be 0 or 1, got {recording.p[at]} at event {at}",
    )
    off: np.ndarray = np.zeros(len(recording.t), bool)
    for values, extent in zip(coordinates.values(), extents, strict=True):
        off |= (values < 0) | (values >= extent)
    if outside == "drop" and off.any():
        t, x, y, p = recording
        return Recording(t[~off], x[~off], None if y is None else y[~off], p[~off])
    _refuse(
        off,
        lambda at: (
            f"events must lie on the sensor of size {extents}, got "
            + ", ".join(f"{name} = {values[at]}" for name, values in coordinates.items())
            + f" at event {at}"
        ),
    )
    return recording


def _coordinates(recording: Recording) -> dict[str, np.ndarray]:
    named = {"x": recording.x, "y": recording.y}
    return {name: values for name, values in named.items() if values is not None}


def _check_arrays(recording: Recording) -> None:
    arrays = {"t": recording.t, **_coordinates(recording), "p": recording.p}
    for name, array in arrays.items():
        if not np.issubdtype(array.dtype, np.integer):
            raise TypeError(f"{name} must hold integers, got {array.dtype}")
        if array.ndim != 1:
            raise ValueError(f"{name} must have shape (events,), got {array.shape}")
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{length} {name}" for name, length in lengths.items())
        raise ValueError(f"t, x, y and p must have equal lengths, got {counts}")


def _running_times(t: np.ndarray, wrap: int | None) -> np.ndarray:
    t = t.astype(np.int64, copy=False)
    if wrap is not None:
        if wrap < 1:
            raise ValueError(f"wrap must be a positive number of microseconds, got {wrap}")
        _refuse(
            (t < 0) | (t >= wrap),
            lambda at: f"t must lie in 0 to wrap - 1 = {wrap - 1}, got {t[at]} at event {at}",
        )
        again = np.diff(t, prepend=t[:1]) < -(wrap // 2)
        t = t + wrap * np.cumsum(again)
    _refuse(
        np.diff(t, prepend=t[:1]) < 0,
        lambda at: (
            f"times must not run backwards, got {t[at]} us after {t[at - 1]} us "
            f"at event {at}; where the clock starts again, say after how long with wrap="
        ),
    )
    return t


def _refuse(wrong: np.ndarray, message: Callable[[int], str]) -> None:
    if wrong.any():
        raise ValueError(message(int(wrong.argmax())))
