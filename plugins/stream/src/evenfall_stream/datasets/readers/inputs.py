"""Files of clouds and meshes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import SamplePoints

from evenfall.errors import shorten

from ...extras import require
from ...seeds import seeded
from ...transforms.normalize_sphere import unit_sphere
from .by_suffix import read_file
from .clouds.binary import read_scan
from .clouds.las import read_las
from .clouds.meshes import read_mesh
from .clouds.pcd import read_pcd
from .clouds.text import read_cloud_text
from .numpy_files import read_npy, read_npz
from .off import read_off, triangles


class Shape(NamedTuple):
    """The contents of a file: a mesh or a cloud.

    Attributes:
        pos: (N, 3) float64 points, or vertices of a mesh, finite.
        face: (3, F) triangles of a mesh, some of them with an area; None for a cloud.
    """

    pos: Tensor
    face: Tensor | None = None

    @property
    def size(self) -> int:
        """Points and triangles."""
        return len(self.pos) + (0 if self.face is None else self.face.shape[1])

    def cloud(self, points: int, label: int | None = None, *, scaled: bool = True) -> Data:
        """Data(pos=(N, 3) float32), centred and scaled to the unit sphere; if not `scaled`, with
        the positions of the file, float64.

        `points` of a mesh are drawn from torch's generator. With a label, the data has y.
        """
        data = Data(pos=self.pos)
        if self.face is not None:
            data.face = self.face
            data = SamplePoints(points)(data)
        data = Data(pos=unit_sphere(data.pos).float() if scaled else data.pos)
        if label is not None:
            data.y = torch.tensor([label])
        return data


def read_cloud(path: str | Path, points: int = 1024, seed: int = 0) -> Data:
    """Read points as Data(pos=(N, 3) float32), centred and scaled to the unit sphere.

    From a mesh, `points` points are sampled on the surface; a cloud keeps its points. Computes in
    float64, so that a cloud far from the origin, as in map coordinates, keeps its shape.

    Args:
        path: .off, .ply, .obj or .stl (mesh or cloud); .pcd, .las, .laz; .bin as in KITTI; .npy,
            .npz (its array `pos` or `points`, or the only one), .xyz, .txt or .csv: one row per
            point, with x, y and z first, or in the columns that a first line names so.
        points: number of points to sample from a mesh.
        seed: of the sampling.

    Raises:
        FileNotFoundError: no such file.
        ImportError: the format needs a package of the extra `io`.
        ValueError: the suffix is unknown, the file cannot be read, or its points are not finite.
    """
    shape = read_shape(path)
    with seeded(seed):
        return shape.cloud(points)


def read_shape(path: str | Path) -> Shape:
    """Read a mesh or a cloud; files and errors as of `read_cloud`."""
    path = Path(path)
    data = read_file(path, _CLOUDS, "a cloud")
    if data.pos.shape[0] == 0 or data.pos.dim() != 2 or data.pos.shape[1] != 3:
        raise ValueError(f"{path} must have points (N, 3), got shape {tuple(data.pos.shape)}")
    if not torch.isfinite(data.pos).all():
        raise ValueError(f"{path} must have finite points, got NaN or infinity")
    if data.face is None or not data.face.numel():
        return Shape(data.pos)
    _check_surface(path, data)
    return Shape(data.pos, data.face)


def _check_surface(path: Path, data: Data) -> None:
    """Check that points can be sampled from the triangles.

    Raises:
        ValueError: a triangle refers to a missing vertex, or the area is 0.
    """
    if not 0 <= int(data.face.min()) <= int(data.face.max()) < len(data.pos):
        raise ValueError(f"{path} has a face that refers to a missing vertex")
    a, b, c = data.pos[data.face].double()
    if not float(torch.linalg.cross(b - a, c - a).norm(dim=1).sum()) > 0:
        raise ValueError(f"{path} has no faces with an area")


def _ply(path: Path) -> Data:
    require("io", str(path), "plyfile")
    from plyfile import PlyData, PlyParseError

    try:
        elements = PlyData.read(str(path))
    except PlyParseError as error:
        raise ValueError(str(error)) from error
    names = [element.name for element in elements]
    if "vertex" not in names or "tristrips" in names:
        raise ValueError(f"it must have the element vertex, and face for triangles, got {names}")
    vertex = elements["vertex"]
    data = _cloud(np.stack([vertex[axis] for axis in "xyz"], 1))
    if "face" in elements and elements["face"].count:
        faces = elements["face"]
        names = [one.name for one in faces.properties if one.name in _CORNERS]
        if len(names) != 1:
            raise ValueError(f"faces must have one of the lists {' and '.join(_CORNERS)}")
        data.face = triangles([face.tolist() for face in faces[names[0]]])
    return data


def _npz(path: Path) -> Data:
    arrays = read_npz(path)
    names: list[str] = [name for name in ("pos", "points") if name in arrays]
    names = names or list(arrays)
    if len(names) != 1:
        raise ValueError(
            f"it must have an array pos or points, or a single one, got {shorten(list(arrays))}"
        )
    return _cloud(arrays[names[0]])


def _mesh(path: Path) -> Data:
    points, corners = read_mesh(path)
    data = _cloud(points)
    if len(corners):
        data.face = torch.from_numpy(corners.T.copy())
    return data


def _points(read: Callable[[Path], np.ndarray], path: Path) -> Data:
    return _cloud(read(path))


def _cloud(points: np.ndarray) -> Data:
    if points.ndim != 2 or points.shape[1] < 3:
        raise ValueError(f"points must have shape (N, 3 or more), got {points.shape}")
    if len(points) <= _MOST_COLUMNS < points.shape[1]:
        raise ValueError(f"points must have shape (N, 3 or more), got {points.shape}: transpose it")
    if points.dtype.kind not in "fiu":
        raise ValueError(f"points must be real numbers, got {points.dtype}")
    return Data(pos=torch.from_numpy(np.array(points[:, :3], np.float64)))


_MOST_COLUMNS = 16
"""Columns of a cloud that has fewer points than columns."""
_CORNERS = ("vertex_indices", "vertex_index")
"""The two names in use for the list of a face's corners."""
_CLOUDS: dict[str, Callable[[Path], Data]] = {
    ".off": read_off, ".ply": _ply, ".obj": _mesh, ".stl": _mesh, ".npz": _npz,
    ".npy": partial(_points, read_npy), ".pcd": partial(_points, read_pcd),
    ".las": partial(_points, read_las), ".laz": partial(_points, read_las),
    ".bin": partial(_points, read_scan), ".xyz": partial(_points, read_cloud_text),
    ".txt": partial(_points, read_cloud_text), ".csv": partial(_points, read_cloud_text),
}  # fmt: skip
CLOUDS = tuple(_CLOUDS)
"""Suffixes of files that can be read, in lower case."""
