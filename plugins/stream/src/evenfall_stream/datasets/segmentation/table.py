"""Text files with a fixed number of columns of finite numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def read_columns(path: Path, columns: int) -> NDArray[np.float64]:
    """The numbers of a text file, (rows, columns).

    Raises:
        ValueError: the file has no numbers, another number of columns, or one that is not finite.
    """
    try:
        table = np.loadtxt(path, dtype=np.float64, ndmin=2, encoding="utf-8")
    except ValueError as error:  # includes bytes that are not UTF-8
        raise ValueError(f"{path}: {error}") from None
    if not table.size or table.shape[1] != columns:
        raise ValueError(f"{path} must have {columns} columns, got shape {table.shape}")
    if not np.isfinite(table).all():
        row = int(np.argmin(np.isfinite(table).all(1)))
        raise ValueError(f"{path} must be finite, got {table[row].tolist()} in row {row}")
    return table
