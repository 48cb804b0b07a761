"""NumPy's .npy and .npz files, with checks before memory is taken; pickles are never loaded."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from .limits import MOST_BYTES

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_npy(path: Path) -> np.ndarray:
    """The array of a .npy file.

    Raises:
        ValueError: it is not one, has Python objects, or more than `MOST_BYTES`.
    """
    with path.open("rb") as file:
        return _array(file, MOST_BYTES)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a .npz file by name.

    Raises:
        ValueError: an array is not one, has Python objects, or they have more than `MOST_BYTES`.
        BadZipFile: it is not a zip archive.
    """
    arrays: dict[str, np.ndarray] = {}
    left = MOST_BYTES
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.filename.endswith(".npy"):
                continue
            with archive.open(member) as file:
                array = _array(file, left)
            arrays[member.filename.removesuffix(".npy")] = array
            left -= array.nbytes
    return arrays


def _array(file: IO[bytes], most: int) -> np.ndarray:
    if file.read(len(npy.MAGIC_PREFIX)) != npy.MAGIC_PREFIX:
        raise ValueError("it is not an array of NumPy")
    file.seek(0)
    version = npy.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"the version of NumPy's format must be 1.0 or 2.0, got {version}")
    shape, _, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise ValueError("it has Python objects, which are never loaded")
    count = 1
    for length in shape:
        count *= length
    if count < 0 or count * max(dtype.itemsize, 1) > most:
        raise ValueError(f"its arrays must have at most {MOST_BYTES:,} bytes, got shape {shape}")
    file.seek(0)
    array: np.ndarray = npy.read_array(file, allow_pickle=False)
    return array
