"""Read files of event recordings, and of sound as events, by suffix."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from .aedat2 import AEDAT2_CLOCK, read_aedat2
from .bs2 import NMNIST_CLOCK, read_nmnist
from .by_suffix import read_file
from .recording import Recording, check_recording


class Contents(NamedTuple):
    """What a file contains.

    Attributes:
        recording: its events.
        wrap: the period of its clock in microseconds, if that wraps around.
        size: of the sensor, if the file states it.
    """

    recording: Recording
    wrap: int | None = None
    size: tuple[int, ...] | None = None


def read_recording(
    path: str | Path, sensor_size: tuple[int, ...], sound: Mapping[str, Any] | None = None,
    outside: Literal["raise", "drop"] = "raise",
) -> Recording:  # fmt: skip
    """Read and check the events of a file; see `check_recording`.

    Args:
        path: .bin or .bs2 as in N-MNIST, .aedat of version 2, or .npz with integer arrays t
            (microseconds), x, y (not for audio) and p (0 or 1); or .wav.
        sensor_size: (width, height) in pixels, or (channels,).
        sound: keyword arguments of SoundToEvents, for .wav.
        outside: "raise" for an error if an event is outside the sensor, "drop" to drop it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the suffix is unknown, the file cannot be read, times decrease, or an event is
            outside the sensor.
    """
    contents = _contents(Path(path), sound)
    return _check(Path(path), contents, sensor_size, outside)


def open_recording(
    path: str | Path, sound: Mapping[str, Any] | None = None
) -> tuple[Recording, tuple[int, ...]]:
    """The events of a file, and the size of its sensor: as the file states it, or else the smallest
    one on which the events fit. Arguments and errors as of `read_recording`.
    """
    contents = _contents(Path(path), sound)
    size = contents.size
    if size is None:
        t, x, y, _ = contents.recording
        size = tuple(
            max(int(np.max(one)), 0) + 1 if len(t) == len(one) > 0 else 1
            for one in ((x,) if y is None else (x, y))
        )
    return _check(Path(path), contents, size), size


def _contents(path: Path, sound: Mapping[str, Any] | None) -> Contents:
    return read_file(path, {**_READERS, ".wav": partial(_wav, sound=sound or {})}, "a recording")


def _check(
    path: Path,
    contents: Contents,
    size: tuple[int, ...],
    outside: Literal["raise", "drop"] = "raise",
) -> Recording:
    try:
        return check_recording(contents.recording, size, wrap=contents.wrap, outside=outside)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _nmnist(path: Path) -> Contents:
    recording = read_nmnist(path)
    # Overflow records have already unwrapped times that exceed the period.
    unwrapped = bool((recording.t >= NMNIST_CLOCK).any())
    return Contents(recording, None if unwrapped else NMNIST_CLOCK)


def _aedat2(path: Path) -> Contents:
    return Contents(read_aedat2(path), AEDAT2_CLOCK)


def _npz(path: Path) -> Contents:
    with np.load(path, allow_pickle=False) as arrays:
        return Contents(Recording(arrays["t"], arrays["x"], arrays.get("y"), arrays["p"]))


def _wav(path: Path, sound: Mapping[str, Any]) -> Contents:
    # Events need only NumPy.
    from ..sound import SoundToEvents, read_wav

    rate, samples = read_wav(path)
    try:
        events = SoundToEvents(rate, **sound)
    except TypeError as error:
        raise ValueError(f"sound: {error}") from None
    t, channel = events.push(samples)
    return Contents(Recording(t, channel, None, np.zeros_like(t)), None, (events.channels,))


SOUND = (".wav",)
_READERS = {".aedat": _aedat2, ".bin": _nmnist, ".bs2": _nmnist, ".npz": _npz}
SUFFIXES = (*_READERS, *SOUND)
"""Suffixes of files that can be read, in lower case."""
