"""ModelNet10 as clouds of 1024 points, from one file without pickle.

The file holds, for `train` and `test`: points_* int16 (N, 1024, 3), label_* uint8 (N,), model_id_*
uint16 (N,), and scale_*, center_*, which lead back to the units of the models; and the names of the
classes.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch_geometric.data import Data

from ..transforms.normalize_sphere import unit_sphere
from .point_clouds import PointClouds

FILE = "modelnet10_1024_int16.npz"
SPLITS = ("train", "valid", "test", "train+valid")

FOLDS = 10
"""Parts of the training clouds, one of which is `valid`."""


class _Clouds(NamedTuple):
    points: np.ndarray
    labels: np.ndarray
    models: np.ndarray
    classes: list[str]


class ModelNet10Clouds(PointClouds):
    """ModelNet10, 1024 points a model, each cloud centred and scaled to the unit sphere.

    Items are Data(pos=(1024, 3) float32, y=(1,) int64). `test` is the official split (908 clouds).
    The official training clouds (3,991) are put in the order of a hash of class and model number;
    `valid` is the `fold`-th tenth of each class, `train` the rest, `train+valid` all of them.

    Args:
        path: the .npz file, or its folder.
        split: one of train, valid, test, train+valid.
        transform: applied to each item when it is read.
        pre_transform: applied to each item once, when the data set is made.
        fold: which tenth is held out, 0 to 9. No cloud is in two of them.

    Raises:
        FileNotFoundError: no such file.
        ValueError: unknown split or fold; the file is corrupt or of another form.

    Source: Wu et al., 3D ShapeNets, 2015, https://modelnet.cs.princeton.edu.
    """

    def __init__(
        self,
        path: str | Path,
        split: str = "train",
        transform: Callable[[Data], Data] | None = None,
        pre_transform: Callable[[Data], Data] | None = None,
        fold: int = 0,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
        if fold not in range(FOLDS):
            raise ValueError(f"fold must be 0 to {FOLDS - 1}, got {fold!r}")
        clouds = _read(_file_of(Path(path)), "test" if split == "test" else "train")
        chosen = _in_split(clouds, split, fold)
        self.split, self.fold = split, fold
        self.models = clouds.models[chosen].tolist()
        # Quantised points differ from the models by shift and scale, which the sphere undoes.
        pos = unit_sphere(torch.from_numpy(clouds.points[chosen].astype(np.float32)))
        labels = torch.from_numpy(clouds.labels[chosen].astype(np.int64))
        super().__init__(pos, labels, clouds.classes, transform, pre_transform)


def _file_of(path: Path) -> Path:
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"path must be {FILE} or its folder, got {path}: no {file}")
    return file


def _read(file: Path, part: str) -> _Clouds:
    """The clouds of `part`, train or test."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            points, labels, models = (
                arrays[f"{name}_{part}"] for name in ("points", "label", "model_id")
            )
            classes = [str(name) for name in arrays["classes"]]
    # A file that is no archive is loaded as one array, which has no context (TypeError).
    except (OSError, EOFError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is corrupt or no ModelNet10 file: {error}") from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise ValueError(f"{file} is corrupt: {error}") from error
    return _checked(_Clouds(points, labels, models, classes), file)


def _checked(clouds: _Clouds, file: Path) -> _Clouds:
    count = len(clouds.labels) if clouds.labels.ndim == 1 else 0
    shape = clouds.points.shape
    if clouds.points.dtype != np.int16:
        raise ValueError(f"{file} must hold int16 points, got {clouds.points.dtype}")
    if clouds.labels.dtype.kind not in "ui":
        raise ValueError(f"{file} must hold integer labels, got {clouds.labels.dtype}")
    if len(shape) != 3 or 0 in shape or shape[0] != count or shape[2] != 3:
        raise ValueError(
            f"{file} must hold points (N, P, 3) and labels (N,), "
            f"got {shape} and {clouds.labels.shape}"
        )
    if clouds.models.shape != (count,):
        raise ValueError(f"{file} must hold {count} model ids, got shape {clouds.models.shape}")
    if not 0 <= int(clouds.labels.min()) <= int(clouds.labels.max()) < len(clouds.classes):
        raise ValueError(
            f"{file} names {len(clouds.classes)} classes, "
            f"got labels {clouds.labels.min()} to {clouds.labels.max()}"
        )
    return clouds


def _in_split(clouds: _Clouds, split: str, fold: int) -> np.ndarray:
    """Which clouds belong to the split, (N,) bool."""
    everything: np.ndarray = np.ones(len(clouds.labels), dtype=bool)
    if split in ("test", "train+valid"):
        return everything
    held_out = ~everything
    for label, name in enumerate(clouds.classes):
        members = np.flatnonzero(clouds.labels == label)
        hashes = [_hash(name, int(model)) for model in clouds.models[members]]
        ranked = [members[at] for at in sorted(range(len(members)), key=hashes.__getitem__)]
        low, high = (round(len(members) * tenths / FOLDS) for tenths in (fold, fold + 1))
        held_out[ranked[low:high]] = True
    return held_out if split == "valid" else ~held_out


def _hash(name: str, model: int) -> bytes:
    return hashlib.sha256(f"{name}_{model:04d}".encode()).digest()
