"""ModelNet10 as clouds of 1024 points, from one file without pickle.

For * in `train` and `test`, the file has points_* int16 (N, 1024, 3), label_* uint8 (N,),
model_id_* uint16 (N,), and scale_*, center_*, which convert points to the units of the models; and
`classes`, their names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch_geometric.data import Data

from evenfall.checks import check_choice
from evenfall.errors import shorten, shorten_text

from ..transforms.normalize_sphere import unit_sphere
from .point_clouds import PointClouds
from .readers.numpy_files import read_npz

FILE = "modelnet10_1024_int16.npz"
SPLITS = ("train", "valid", "test", "train+valid")

FOLDS = 10
"""Number of folds of the training clouds; one fold is `valid`."""


class _Clouds(NamedTuple):
    points: np.ndarray
    labels: np.ndarray
    models: np.ndarray
    classes: list[str]


class ModelNet10Clouds(PointClouds):
    """ModelNet10, 1024 points per model, each cloud centred and scaled to the unit sphere.

    Items are Data(pos=(1024, 3) float32, y=(1,) int64). `test` is the official split (908 clouds).
    The official training clouds (3,991) are sorted by a hash of class and model number; `valid` is
    the `fold`-th tenth of each class, `train` the rest, `train+valid` all of them.

    Args:
        path: the .npz file, or its folder.
        split: one of train, valid, test, train+valid.
        transform: applied to each item on access.
        pre_transform: applied to each item once, when the data set is created.
        fold: the tenth that is held out, 0 to 9; they do not overlap.

    Raises:
        FileNotFoundError: no such file.
        ValueError: unknown split or fold; the file is corrupt or has another format.

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
        check_choice("split", split, SPLITS)
        if fold not in range(FOLDS):
            raise ValueError(f"fold must be between 0 and {FOLDS - 1}, got {shorten(fold)}")
        clouds = _read(_file_of(Path(path)), "test" if split == "test" else "train")
        mask = _in_split(clouds, split, fold)
        self.split, self.fold = split, fold
        self.models = clouds.models[mask].tolist()
        # Quantised points differ from the models by shift and scale; unit_sphere removes both.
        pos = unit_sphere(torch.from_numpy(clouds.points[mask].astype(np.float32)))
        labels = torch.from_numpy(clouds.labels[mask].astype(np.int64))
        super().__init__(pos, labels, clouds.classes, transform, pre_transform)


def _file_of(path: Path) -> Path:
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"path must be {FILE} or its folder, got {path}; no file {file}")
    return file


def _read(file: Path, part: str) -> _Clouds:
    """The clouds of `part`, train or test."""
    try:
        arrays = read_npz(file)
        points, labels, models = (
            arrays[f"{name}_{part}"] for name in ("points", "label", "model_id")
        )
        classes = [str(name) for name in arrays["classes"]]
    # A damaged archive raises errors of zipfile, zlib, tokenize and others.
    except Exception as error:
        words = shorten_text(str(error))
        raise ValueError(f"{file} is corrupt or not a ModelNet10 file: {words}") from error
    clouds = _Clouds(points, labels, models, classes)
    _check(clouds, file)
    return clouds


def _check(clouds: _Clouds, file: Path) -> None:
    count = len(clouds.labels) if clouds.labels.ndim == 1 else 0
    shape = clouds.points.shape
    if clouds.points.dtype != np.int16:
        raise ValueError(f"{file} must have int16 points, got {clouds.points.dtype}")
    if clouds.labels.dtype.kind not in "ui":
        raise ValueError(f"{file} must have integer labels, got {clouds.labels.dtype}")
    if len(shape) != 3 or 0 in shape or shape[0] != count or shape[2] != 3:
        raise ValueError(
            f"{file} must have points (N, P, 3) and labels (N,), "
            f"got {shape} and {clouds.labels.shape}"
        )
    if clouds.models.shape != (count,):
        raise ValueError(f"{file} must have {count} model ids, got shape {clouds.models.shape}")
    if not 0 <= int(clouds.labels.min()) <= int(clouds.labels.max()) < len(clouds.classes):
        raise ValueError(
            f"{file} must have labels below {len(clouds.classes)}, the number of classes, "
            f"got {clouds.labels.min()} to {clouds.labels.max()}"
        )


def _in_split(clouds: _Clouds, split: str, fold: int) -> np.ndarray:
    """Which clouds are in the split, (N,) bool."""
    valid: np.ndarray = np.zeros(len(clouds.labels), dtype=bool)
    if split in ("test", "train+valid"):
        return ~valid
    for label, name in enumerate(clouds.classes):
        members = np.flatnonzero(clouds.labels == label)
        hashes = [_hash(name, int(model)) for model in clouds.models[members]]
        ranked = [members[at] for at in sorted(range(len(members)), key=hashes.__getitem__)]
        low, high = (round(len(members) * tenths / FOLDS) for tenths in (fold, fold + 1))
        valid[ranked[low:high]] = True
    return valid if split == "valid" else ~valid


def _hash(name: str, model: int) -> bytes:
    return hashlib.sha256(f"{name}_{model:04d}".encode()).digest()
