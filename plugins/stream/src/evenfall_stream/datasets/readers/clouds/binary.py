"""Velodyne scans: float32 x, y, z and reflectance, as in KITTI's .bin; nuScenes' .pcd.bin has the
ring as a fifth value.

Sources: Geiger et al., Vision meets Robotics: the KITTI Dataset, 2013; Caesar et al., nuScenes,
2020.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..limits import read_bytes

_FARTHEST = 1e4
"""Metres; no such scanner sees as far."""
_STRONGEST = 255.0
_LEAST = 1e-30
"""Smaller values are integers, or big endian."""


def read_scan(path: Path) -> np.ndarray:
    """The (N, 3) points.

    Raises:
        ValueError: the size is not a whole number of points, or values cannot be those of a scan.
    """
    columns = 5 if path.name.lower().endswith(".pcd.bin") else 4
    raw = read_bytes(path)
    if not raw or len(raw) % (4 * columns):
        raise ValueError(f"a scan must have points of {4 * columns} bytes, got {len(raw)} bytes")
    values = np.frombuffer(raw, "<f4").reshape(-1, columns).astype(np.float64)
    strength = values[:, 3]
    valid = (
        np.isfinite(values).all()
        and (np.abs(values[:, :3]) < _FARTHEST).all()
        and ((strength >= 0) & (strength <= _STRONGEST)).all()
        and ((values == 0) | (np.abs(values) > _LEAST)).all()
    )
    if not valid:
        raise ValueError(
            f"it is not a scan of float32 x, y, z, reflectance{', ring' * (columns == 5)}: values "
            "are not finite, beyond 10 km or tiny, or a reflectance is not in 0..255"
        )
    return values[:, :3]
