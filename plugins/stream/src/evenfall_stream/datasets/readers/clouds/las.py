"""Laser scans in LAS and LAZ files, through the packages laspy and lazrs."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from ....extras import require
from ..limits import MOST_POINTS, check_count, read_bytes


def read_las(path: Path) -> np.ndarray:
    """The (N, 3) float64 points, scaled and moved as the header says.

    Raises:
        ImportError: laspy is not installed, or lazrs for .laz.
        ValueError: it cannot be read, or has fewer points than its header says.
    """
    compressed = path.suffix.lower() == ".laz"
    require("io", str(path), "laspy", *(["lazrs"] if compressed else []))
    import laspy

    _check_records(read_bytes(path))
    with laspy.open(path) as file:
        count = file.header.point_count
        check_count(count, "points", MOST_POINTS)
        if not compressed and count * file.header.point_format.size > path.stat().st_size:
            raise ValueError(f"it must have {count:,} points, but is too short")
        points = file.read()
    if len(points.points) != count:
        raise ValueError(f"it must have {count:,} points, got {len(points.points):,}")
    return np.stack([np.asarray(points[axis], np.float64) for axis in "xyz"], 1)


def _check_records(raw: bytes) -> None:
    """Refuse more records of variable length than there is room for: the package reads them all."""
    if raw[:4] != b"LASF" or len(raw) < 227:
        raise ValueError("it must start with a header of LAS")
    head, points, records = struct.unpack_from("<HII", raw, 94)
    if not 227 <= head <= points <= len(raw) or records * _RECORD > points - head:
        raise ValueError(f"it cannot have {records:,} records before the points")
    if raw[24:26] == b"\x01\x04" and len(raw) >= 247:
        start, records = struct.unpack_from("<QI", raw, 235)
        if records and (start > len(raw) or records * _EXTENDED > len(raw) - start):
            raise ValueError(f"it cannot have {records:,} records after the points")


_RECORD, _EXTENDED = 54, 60
"""Bytes of the header of a record."""
