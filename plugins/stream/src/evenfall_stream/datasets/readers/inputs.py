"""Files that a user may ask about: clouds and meshes, recordings of events."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch_geometric.data import Data
from torch_geometric.transforms import SamplePoints

from ...seeds import seeded
from ...transforms.normalize_sphere import unit_sphere
from . import AEDAT2_CLOCK, NMNIST_CLOCK, Recording, check_recording, read_aedat2, read_nmnist
from .off import read_off, triangles


def read_cloud(path: str | Path, points: int = 1024, seed: int = 0) -> Data:
    """Points as Data(pos=(N, 3)), centred and scaled to the unit sphere.

    Of a mesh, `points` points of the surface are drawn; a cloud is taken as it is.

    Args:
        path: .off or .ply (mesh or cloud); .npy, .npz (its array `pos` or `points`, or the only
            one), .xyz, .txt or .csv: a row a point, of which the first three columns count.
        points: drawn from a mesh.
        seed: of the drawing.

    Raises:
        FileNotFoundError: no such file.
        ImportError: a .ply file without plyfile.
        ValueError: another kind of file, one that cannot be read, or no finite points in it.
    """
    path = Path(path)
    data = _read(path, _CLOUDS, "a cloud")
    if data.pos.shape[0] == 0 or data.pos.dim() != 2 or data.pos.shape[1] != 3:
        raise ValueError(f"{path} must hold points of 3 coordinates, got {tuple(data.pos.shape)}")
    if not torch.isfinite(data.pos).all():
        raise ValueError(f"{path} holds points that are not finite")
    if data.face is not None and data.face.numel():
        _check_surface(path, data)
        with seeded(seed):
            data = SamplePoints(points)(data)
    return Data(pos=unit_sphere(data.pos.float()))


def read_events(path: str | Path, sensor_size: tuple[int, ...]) -> Data:
    """Events as Data(x=(N, 1), pos=(N, 1 + k)), time in milliseconds; see Recording.to_data.

    Args:
        path: .bin or .bs2 as N-MNIST's, .aedat of version 2, or .npz with arrays t (microseconds),
            x, y (absent for audio) and p.
        sensor_size: (width, height) in pixels, or (channels,).

    Raises:
        FileNotFoundError: no such file.
        ValueError: another kind of file, one that cannot be read, times that run backwards, or
            events outside the sensor.
    """
    path = Path(path)
    recording, wrap = _read(path, _RECORDINGS, "a recording")
    try:
        return check_recording(recording, sensor_size, wrap=wrap).to_data()
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _read(path: Path, readers: dict[str, Callable[[Path], object]], what: str) -> object:
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"{path} must be {what} in one of {sorted(readers)}")
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        return reader(path)
    except (IndexError, KeyError, TypeError, ValueError, EOFError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def _check_surface(path: Path, data: Data) -> None:
    """Points can be drawn from the triangles of a mesh.

    Raises:
        ValueError: a triangle of other vertices than the mesh has, or no area.
    """
    if not 0 <= int(data.face.min()) <= int(data.face.max()) < len(data.pos):
        raise ValueError(f"{path} has faces of vertices that it does not have")
    a, b, c = data.pos[data.face].double()
    if not float(torch.linalg.cross(b - a, c - a).norm(dim=1).sum()) > 0:
        raise ValueError(f"{path} is a mesh whose faces have no area")


def _ply(path: Path) -> Data:
    try:
        from plyfile import PlyData, PlyParseError
    except ImportError as error:
        raise ImportError(f"{path} needs plyfile: pip install plyfile") from error
    try:
        found = PlyData.read(str(path))
    except PlyParseError as error:
        raise ValueError(str(error)) from error
    vertex = found["vertex"]
    data = _cloud(np.stack([vertex[axis] for axis in "xyz"], 1))
    faces = found["face"]["vertex_indices"] if "face" in found else []
    if len(faces):
        data.face = triangles([face.tolist() for face in faces])
    return data


def _npz(path: Path) -> Data:
    with np.load(path, allow_pickle=False) as arrays:
        names = [name for name in ("pos", "points") if name in arrays] or arrays.files
        if len(names) != 1:
            raise ValueError(f"want an array pos, points or a single one, got {arrays.files}")
        return _cloud(arrays[names[0]])


def _npy(path: Path) -> Data:
    return _cloud(np.load(path, allow_pickle=False))


def _text(path: Path) -> Data:
    delimiter = "," if "," in path.read_text(encoding="utf-8") else None
    return _cloud(np.loadtxt(path, delimiter=delimiter, ndmin=2))


def _cloud(points: np.ndarray) -> Data:
    if points.ndim != 2 or points.shape[1] < 3:
        raise ValueError(f"want an array of shape (points, 3 or more), got {points.shape}")
    return Data(pos=torch.from_numpy(np.array(points[:, :3], np.float64)))


def _nmnist(path: Path) -> tuple[Recording, int | None]:
    recording = read_nmnist(path)
    # Markers of overflow carry the times past the period: then the clock has been followed.
    past = bool((recording.t >= NMNIST_CLOCK).any())
    return recording, None if past else NMNIST_CLOCK


def _aedat2(path: Path) -> tuple[Recording, int | None]:
    return read_aedat2(path), AEDAT2_CLOCK


def _events(path: Path) -> tuple[Recording, int | None]:
    with np.load(path, allow_pickle=False) as arrays:
        y = arrays["y"] if "y" in arrays else None
        return Recording(arrays["t"], arrays["x"], y, arrays["p"]), None


_CLOUDS = {
    ".off": read_off, ".ply": _ply, ".npz": _npz, ".npy": _npy, ".xyz": _text, ".txt": _text,
    ".csv": _text,
}  # fmt: skip
_RECORDINGS = {".aedat": _aedat2, ".bin": _nmnist, ".bs2": _nmnist, ".npz": _events}
