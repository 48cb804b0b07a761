"""Read files of event recordings by suffix. Needs only NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .aedat2 import AEDAT2_CLOCK, read_aedat2
from .bs2 import NMNIST_CLOCK, read_nmnist
from .by_suffix import read_file
from .recording import Recording, check_recording


def read_recording(path: str | Path, sensor_size: tuple[int, ...]) -> Recording:
    """Read and check the events of a file; see `check_recording`.

    Args:
        path: .bin or .bs2 as in N-MNIST, .aedat of version 2, or .npz with integer arrays t
            (microseconds), x, y (not for audio) and p (0 or 1).
        sensor_size: (width, height) in pixels, or (channels,).

    Raises:
        FileNotFoundError: no such file.
        ValueError: the suffix is unknown, the file cannot be read, times decrease, or an event is
            outside the sensor.
    """
    path = Path(path)
    recording, wrap = read_file(path, _READERS, "a recording")
    try:
        return check_recording(recording, sensor_size, wrap=wrap)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _nmnist(path: Path) -> tuple[Recording, int | None]:
    recording = read_nmnist(path)
    # Overflow records have already unwrapped times that exceed the period.
    unwrapped = bool((recording.t >= NMNIST_CLOCK).any())
    return recording, None if unwrapped else NMNIST_CLOCK


def _aedat2(path: Path) -> tuple[Recording, int | None]:
    return read_aedat2(path), AEDAT2_CLOCK


def _npz(path: Path) -> tuple[Recording, int | None]:
    with np.load(path, allow_pickle=False) as arrays:
        return Recording(arrays["t"], arrays["x"], arrays.get("y"), arrays["p"]), None


_READERS = {".aedat": _aedat2, ".bin": _nmnist, ".bs2": _nmnist, ".npz": _npz}
