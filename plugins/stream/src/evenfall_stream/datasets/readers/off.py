"""Meshes in the Object File Format: the header, the counts, a vertex a line, a face a line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

_HEADER = re.compile(r"(?:ST)?C?N?OFF\s*")
"""Texture, colour and normal of a vertex follow its three coordinates."""


def read_off(path: str | Path) -> Data:
    """Data(pos=(N, 3) float64, face=(3, F)), polygons cut into triangles.

    Comments, empty lines and what follows coordinates and corners, such as colours, are passed
    over; the counts may stand right behind the header, as in some files of ModelNet. Faces of
    fewer than three corners have no surface and are left out.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another header, fewer lines than the counts say, something that is no number,
            or a face with a corner that is no vertex.

    torch_geometric's reader loses the last face of a file that ends without a line break, reads
    what is left of a file that was cut off, and knows neither comments, colours nor polygons.
    """
    text = Path(path).read_text(encoding="utf-8")
    header = _HEADER.match(text)
    if header is None or text[header.end() :].startswith("BINARY"):
        raise ValueError(f"want the header OFF, COFF, NOFF or STOFF, got {text[:12]!r}")
    lines = (line.partition("#")[0].split() for line in text[header.end() :].splitlines())
    counts, *rows = [row for row in lines if row] or [[]]
    if len(counts) < 2:
        raise ValueError(f"want the numbers of vertices and faces after the header, got {counts}")
    vertices, faces = int(counts[0]), int(counts[1])
    if min(vertices, faces) < 0 or len(rows) < vertices + faces:
        raise ValueError(
            f"want {vertices} vertices and {faces} faces, a line each, got {len(rows)} lines"
        )
    pos = np.array([_coordinates(row) for row in rows[:vertices]], np.float64).reshape(-1, 3)
    corners = [_corners(row, vertices) for row in rows[vertices : vertices + faces]]
    return Data(pos=torch.from_numpy(pos), face=triangles(corners))


def triangles(polygons: Iterable[Sequence[int]]) -> Tensor:
    """(3, F): a polygon of k corners as k - 2 triangles that share its first one."""
    fans = [
        (polygon[0], polygon[at], polygon[at + 1])
        for polygon in polygons
        for at in range(1, len(polygon) - 1)
    ]
    return torch.tensor(fans, dtype=torch.long).reshape(-1, 3).t().contiguous()


def _coordinates(row: list[str]) -> list[float]:
    if len(row) < 3:
        raise ValueError(f"want three coordinates of a vertex, got {' '.join(row)!r}")
    return [float(word) for word in row[:3]]


def _corners(row: list[str], vertices: int) -> list[int]:
    count = int(row[0])
    corners = [int(word) for word in row[1 : 1 + count]]
    if len(corners) < count or corners and not 0 <= min(corners) <= max(corners) < vertices:
        raise ValueError(
            f"want a face's number of corners, then as many of 0 to {vertices - 1}, "
            f"got {' '.join(row)!r}"
        )
    return corners
