"""Meshes in the Object File Format: header, counts, a line per vertex, a line per face."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from evenfall.errors import shorten

from .limits import read_text

_HEADER = re.compile(r"(?:\s++|#.*+)*+(?:ST)?C?N?OFF\s*")
"""In these variants texture, colour and normal of a vertex follow its three coordinates."""


def read_off(path: str | Path) -> Data:
    """Read Data(pos=(N, 3) float64, face=(3, F)); polygons become triangles.

    Ignores comments, empty lines, and values after coordinates and corners, such as colours. The
    counts may follow the header directly, as in some ModelNet files. Faces with fewer than three
    corners are skipped.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the header is unknown, lines are missing, a value is not a number, or a face
            refers to a missing vertex.

    torch_geometric's reader loses the last face of a file without a final line break, accepts
    truncated files, and does not support comments, colours or polygons.
    """
    text = read_text(Path(path))
    header = _HEADER.match(text)
    if header is None or text[header.end() :].startswith("BINARY"):
        raise ValueError(f"the header must be OFF, COFF, NOFF or STOFF, got {shorten(text[:12])}")
    lines = (line.partition("#")[0].split() for line in text[header.end() :].splitlines())
    counts, *rows = [row for row in lines if row] or [[]]
    if len(counts) < 2:
        raise ValueError(f"the numbers of vertices and faces must follow the header, got {counts}")
    vertices, faces = int(counts[0]), int(counts[1])
    if min(vertices, faces) < 0 or len(rows) < vertices + faces:
        raise ValueError(
            f"there must be {vertices} vertices and {faces} faces, one per line, "
            f"got {len(rows)} lines"
        )
    pos = np.array([_coordinates(row) for row in rows[:vertices]], np.float64).reshape(-1, 3)
    corners = [_corners(row, vertices) for row in rows[vertices : vertices + faces]]
    return Data(pos=torch.from_numpy(pos), face=triangles(corners))


def triangles(polygons: Iterable[Sequence[int]]) -> Tensor:
    """Polygons as triangles (3, F): k corners give k - 2 triangles that share the first corner."""
    fans = [
        (polygon[0], polygon[at], polygon[at + 1])
        for polygon in polygons
        for at in range(1, len(polygon) - 1)
    ]
    return torch.tensor(fans, dtype=torch.long).reshape(-1, 3).t().contiguous()


def _coordinates(row: list[str]) -> list[float]:
    if len(row) < 3:
        raise ValueError(f"a vertex must have three coordinates, got {shorten(' '.join(row))}")
    return [float(word) for word in row[:3]]


def _corners(row: list[str], vertices: int) -> list[int]:
    count = int(row[0])
    corners = [int(word) for word in row[1 : 1 + count]]
    if not 0 <= count <= len(corners):
        raise ValueError(
            f"a face must have as many corners as it says, got {shorten(' '.join(row))}"
        )
    if corners and not 0 <= min(corners) <= max(corners) < vertices:
        raise ValueError(
            f"a face refers to a missing vertex: corners must be between 0 and {vertices - 1}, "
            f"got {shorten(' '.join(row))}"
        )
    return corners
