"""Point Cloud Data files of the Point Cloud Library, through the package pypcd4."""

from __future__ import annotations

import re
from operator import mul
from pathlib import Path

import numpy as np

from ....extras import require
from ..limits import MOST_POINTS, check_count, read_bytes

_MOST_HEADER = 2**16
_BYTES = 64
"""Most bytes of a point, for data that are compressed."""


def read_pcd(path: Path) -> np.ndarray:
    """The (N, 3) points, without those that are NaN: sensors write these where nothing returned.

    Raises:
        ImportError: pypcd4 is not installed.
        ValueError: there are no fields x, y and z, the file cannot be read, or it has another
            number of points than its header says.
    """
    require("io", str(path), "pypcd4")
    from pypcd4 import PointCloud

    count = _check_header(read_bytes(path))
    cloud = PointCloud.from_path(path)
    if not {"x", "y", "z"} <= set(cloud.fields):
        raise ValueError(f"its fields must have x, y and z, got {cloud.fields}")
    points = cloud.numpy(("x", "y", "z")).astype(np.float64)
    if len(points) != count:
        raise ValueError(f"it must have {count:,} points, got {len(points):,}")
    return np.asarray(points[~np.isnan(points).any(1)])


def _check_header(raw: bytes) -> int:
    """The number of points. Refuses more points, or more compressed bytes, than there can be."""
    head = re.search(rb"^DATA[ \t]+(\w+)[ \t]*\r?\n", raw[:_MOST_HEADER], re.MULTILINE)
    count = re.search(rb"^POINTS[ \t]+(\d{1,18})\s", raw[:_MOST_HEADER], re.MULTILINE)
    if head is None or count is None:
        raise ValueError("its header must have lines POINTS and DATA")
    points = int(count[1])
    check_count(points, "points", MOST_POINTS)
    if head[1] == b"binary_compressed":
        body = raw[head.end() :]
        if len(body) < 8:
            raise ValueError("it ends in its header")
        packed, size = (int(one) for one in np.frombuffer(body, "<u4", 2))
        if packed > len(body) - 8 or size > max(points, 1) * _BYTES * 8:
            raise ValueError(f"it cannot have {size:,} bytes for {points:,} points")
    elif len(raw) - head.end() < points:
        raise ValueError(f"it must have {points:,} points, but is too short")
    elif head[1] == b"binary":
        size = _point_size(raw[: head.end()])
        if size and (found := (len(raw) - head.end()) // size) > points:
            raise ValueError(f"it must have {points:,} points, got {found:,}")
    return points


def _point_size(header: bytes) -> int:
    """Bytes of a point; 0 if the header does not say it."""
    rows = [re.search(rb"^%b[ \t]+([\d \t]+)\r?$" % name, header, re.MULTILINE)
            for name in (b"SIZE", b"COUNT")]  # fmt: skip
    sizes, counts = ([int(one) for one in row[1].split()] if row else [] for row in rows)
    counts = counts or [1] * len(sizes)
    return sum(map(mul, sizes, counts)) if len(sizes) == len(counts) else 0
