"""Clouds as text: a line for each point."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..text import read_table


def read_cloud_text(path: Path) -> np.ndarray:
    """The (N, 3) points: the columns that are named x, y and z, or else the first three.

    Raises:
        ValueError: it is not a table of numbers, or its names lack x, y or z.
    """
    names, values = read_table(path, lambda name: name.lower() in set("xyz"))
    if names is None:
        if len(values) and values.shape[1] < 3:
            raise ValueError(f"a line must have x, y and z, got {values.shape[1]} values")
        return values[:, :3] if len(values) else np.empty((0, 3))
    lower = [name.lower() for name in names]
    places = [[at for at, name in enumerate(lower) if name == axis] for axis in "xyz"]
    if any(len(place) != 1 for place in places):
        raise ValueError(f"its columns must be named x, y and z, got {names[:8]}")
    return values[:, [place[0] for place in places]]
