"""Meshes in OBJ and STL files, through the package trimesh."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from ....extras import require
from ..limits import MOST_TEXT, read_bytes


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
    options = {"skip_materials": True} if kind == "obj" else {}
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
        raise ValueError("it has no vertices")
    return np.concatenate(vertices), np.concatenate([np.zeros((0, 3), np.int64), *faces])
