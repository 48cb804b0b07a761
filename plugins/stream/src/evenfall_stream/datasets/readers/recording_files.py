"""Read files of event recordings, and of sound as events, by suffix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from . import aedat3, aedat4
from .aedat2 import AEDAT2_CLOCK, open_aedat2
from .bs2 import NMNIST_CLOCK, read_nmnist
from .by_suffix import read_file
from .columns import make_recording
from .event_text import read_event_text
from .hdf5 import read_hdf5
from .numpy_files import read_npy, read_npz
from .prophesee import DAT_CLOCK, read_dat, read_raw
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
        path: .bin or .bs2 as in N-MNIST; .aedat of version 2.0, 3.1 or 4, .aedat4; Prophesee's .raw
            (EVT 2.0, EVT 3.0) and .dat; .h5 or .hdf5 of Metavision, Prophesee or DSEC; .npz, .npy,
            .csv or .txt with columns that `columns.make_recording` knows; or .wav.
        sensor_size: (width, height) in pixels, or (channels,).
        sound: keyword arguments of SoundToEvents, for .wav.
        outside: "raise" for an error if an event is outside the sensor, "drop" to drop it.

    Raises:
        FileNotFoundError: no such file.
        ImportError: the format needs a package of the extra `io`.
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
    readers: dict[str, Callable[[Path], Contents]] = {
        **_READERS,
        ".wav": partial(_wav, sound=sound or {}),
    }
    return read_file(path, readers, "a recording")


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


def _aedat(path: Path) -> Contents:
    """AEDAT of any version."""
    with path.open("rb") as file:
        magic = file.read(len(aedat3.MAGIC))
    if magic == aedat3.MAGIC:
        recording, size = aedat3.read_aedat3(path)
        return Contents(recording, None, size)
    if magic == aedat4.MAGIC:
        recording, size = aedat4.read_aedat4(path)
        return Contents(recording, None, size)
    recording, size = open_aedat2(path)
    return Contents(recording, AEDAT2_CLOCK, size)


def _raw(path: Path) -> Contents:
    recording, size = read_raw(path)
    return Contents(recording, None, size)


def _dat(path: Path) -> Contents:
    recording, size = read_dat(path)
    return Contents(recording, DAT_CLOCK, size)


def _hdf5(path: Path) -> Contents:
    recording, size = read_hdf5(path)
    return Contents(recording, None, size)


def _npz(path: Path) -> Contents:
    arrays = read_npz(path)
    if len(arrays) == 1:
        (array,) = arrays.values()
        if array.dtype.names:
            return Contents(_structured(array))
    return Contents(make_recording(arrays))


def _npy(path: Path) -> Contents:
    return Contents(_structured(read_npy(path)))


def _structured(array: np.ndarray) -> Recording:
    if not array.dtype.names:
        raise ValueError(
            f"an array of events must have fields t, x, y, p, got {array.dtype} {array.shape}"
        )
    return make_recording({name: array[name] for name in array.dtype.names})


def _text(path: Path) -> Contents:
    return Contents(read_event_text(path))


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
_READERS: dict[str, Callable[[Path], Contents]] = {
    ".aedat": _aedat, ".aedat4": _aedat, ".bin": _nmnist, ".bs2": _nmnist, ".csv": _text,
    ".dat": _dat, ".h5": _hdf5, ".hdf5": _hdf5, ".npy": _npy, ".npz": _npz, ".raw": _raw,
    ".txt": _text,
}  # fmt: skip
SUFFIXES = (*_READERS, *SOUND)
"""Suffixes of files that can be read, in lower case."""
