"""Files of event recordings, by their suffix. Needs NumPy alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .aedat2 import AEDAT2_CLOCK, read_aedat2
from .bs2 import NMNIST_CLOCK, read_nmnist
from .by_suffix import read_file
from .recording import Recording, check_recording


def read_recording(path: str | Path, sensor_size: tuple[int, ...]) -> Recording:
    """The events of a file, checked; see `check_recording`.

    Args:
        path: .bin or .bs2 as N-MNIST's, .aedat of version 2, or .npz with integer arrays t
            (microseconds), x, y (absent for audio) and p (0 or 1).
        sensor_size: (width, height) in pixels, or (channels,).

    Raises:
        FileNotFoundError: no such file.
        ValueError: another kind of file, one that cannot be read, times that run backwards, or
            events outside the sensor.
    """
    path = Path(path)
    recording, wrap = read_file(path, _READERS, "a recording")
    try:
        return check_recording(recording, sensor_size, wrap=wrap)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _nmnist(path: Path) -> tuple[Recording, int | None]:
    recording = read_nmnist(path)
    # Markers of overflow carry the times past the period: then the clock has been followed.
    past = bool((recording.t >= NMNIST_CLOCK).any())
    return recording, None if past else NMNIST_CLOCK


def _aedat2(path: Path) -> tuple[Recording, int | None]:
    return read_aedat2(path), AEDAT2_CLOCK


def _npz(path: Path) -> tuple[Recording, int | None]:
    with np.load(path, allow_pickle=False) as arrays:
        y = arrays["y"] if "y" in arrays else None
        return Recording(arrays["t"], arrays["x"], y, arrays["p"]), None


_READERS = {".aedat": _aedat2, ".bin": _nmnist, ".bs2": _nmnist, ".npz": _npz}
