"""Meshes in OBJ and STL files, through the package trimesh."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np

from evenfall.errors import shorten

from ....extras import require
from ..limits import MOST_TEXT, decode_text, read_bytes


def read_mesh(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """((N, 3) float64 vertices, (F, 3) triangles), without materials. A cloud has no triangles.

    Raises:
        ImportError: trimesh is not installed.
        ValueError: it cannot be read, or has no vertices.
    """
    require("io", str(path), "trimesh")
    import trimesh

    kind = path.suffix.lower().removeprefix(".")
    raw = read_bytes(path, MOST_TEXT)
    options = {}
    if kind == "obj":
        raw, options = _plain_obj(raw), {"skip_materials": True}
    # Without a resolver no other file is opened.
    scene = trimesh.load_scene(io.BytesIO(raw), file_type=kind, process=False, **options)
    vertices, faces, count = [], [], 0
    for part in scene.geometry.values():
        points = np.asarray(part.vertices, np.float64)
        if isinstance(part, trimesh.Trimesh):
            faces.append(np.asarray(part.faces, np.int64) + count)
        vertices.append(points)
        count += len(points)
    if not count:
        raise ValueError("it has no vertices, or is cut off")
    return np.concatenate(vertices), np.concatenate([np.zeros((0, 3), np.int64), *faces])


def _plain_obj(raw: bytes) -> bytes:
    """The lines with single spaces, as the package wants them: it drops lines that are indented or
    follow a byte order mark, and those with tabs.

    Raises:
        ValueError: a face has corner 0; the package takes it for the last vertex.
    """
    lines = [" ".join(line.split()) for line in decode_text(raw, "replace").splitlines()]
    for number, line in enumerate(lines, start=1):
        if line.startswith("f ") and _ZERO.search(line):
            raise ValueError(f"corners of faces count from 1, got {shorten(line)} in line {number}")
    return "\n".join([*lines, ""]).encode()


_ZERO = re.compile(r" [+-]?0+(?![0-9])")
"""A corner whose vertex is 0."""
