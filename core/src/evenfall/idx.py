"""IDX, the format of MNIST: a zero, a zero, the type, the number of axes, the sizes, the values."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .reading import unzip

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BYTES = b"\0\0\x08"


def read_idx(folder: str | Path, name: str) -> NDArray[Any]:
    """The array of bytes in the file `name`, or `name`.gz, of a folder.

    Raises:
        FileNotFoundError: there is neither.
        ValueError: the archive is damaged or too large, or the file is not IDX, has other values
            than bytes, or is truncated.

    Source: LeCun, Cortes and Burges, The MNIST database, 1998.
    """
    import numpy as np

    file, packed = Path(folder) / name, Path(folder) / f"{name}.gz"
    if not file.is_file() and not packed.is_file():
        raise FileNotFoundError(f"data: {folder} has neither {name} nor {name}.gz")
    path = file if file.is_file() else packed
    raw = file.read_bytes() if path is file else unzip(packed.read_bytes(), packed, "data:")
    header = 4 + 4 * raw[3] if len(raw) > 3 else 8
    if raw[:3] != _BYTES or header < 8 or len(raw) < header:
        raise ValueError(f"data: {path} is not an IDX file of bytes")
    sizes = np.frombuffer(raw[:header], ">u4", offset=4).tolist()
    if len(raw) - header != math.prod(sizes):
        raise ValueError(
            f"data: {path} is truncated or too long: {len(raw) - header} bytes for an array of "
            f"shape {tuple(sizes)}"
        )
    return np.frombuffer(raw, np.uint8, offset=header).reshape(sizes).copy()
