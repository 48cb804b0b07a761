"""ScanObjectNN from its official HDF5 files.

h5_files/main_split/           {training,test}_objectdataset.h5                       objectbg
                               {training,test}_objectdataset_augmentedrot_scale75.h5  hardest
h5_files/main_split_nobg/      {training,test}_objectdataset.h5                       objectonly

Each file has data (N, 2048, 3) float32 and label (N,).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch_geometric.data import Data

from evenfall.checks import check_choice

from ..extras import require
from ..transforms.normalize_sphere import unit_sphere
from .point_clouds import PointClouds
from .readers.limits import MOST_POINTS, check_count

CLASSES = (
    "bag", "bin", "box", "cabinet", "chair", "desk", "display", "door",
    "shelf", "table", "bed", "pillow", "sink", "sofa", "toilet",
)  # fmt: skip

_FILES = {
    "objectbg": "main_split/{}_objectdataset.h5",
    "objectonly": "main_split_nobg/{}_objectdataset.h5",
    "hardest": "main_split/{}_objectdataset_augmentedrot_scale75.h5",
}
_SPLITS = {"train": "training", "test": "test"}


class ScanObjectNN(PointClouds):
    """Scanned objects of 15 classes, 2048 points each, centred and scaled to the unit sphere.

    Items are Data(pos=(2048, 3) float32, y=(1,) int64). float64 points are centred in float64.

    Args:
        path: the folder h5_files, or its parent.
        split: train or test.
        variant: objectbg (OBJ-BG, with background), objectonly (OBJ-ONLY) or hardest (PB-T50-RS:
            with background, perturbed boxes, rotated and scaled).
        normalize: False keeps the coordinates of the file, and float64 if it has that.
        transform: applied to each item on access.
        pre_transform: applied to each item once, when the data set is created.

    Raises:
        FileNotFoundError: no such file.
        ImportError: h5py is not installed.
        ValueError: unknown split or variant; the file is corrupt or has another format.

    Source: Uy et al., Revisiting Point Cloud Classification, 2019, https://arxiv.org/abs/1908.04616.
    """

    def __init__(
        self,
        path: str | Path,
        split: str = "train",
        variant: str = "objectbg",
        *,
        normalize: bool = True,
        transform: Callable[[Data], Data] | None = None,
        pre_transform: Callable[[Data], Data] | None = None,
    ) -> None:
        check_choice("split", split, _SPLITS)
        check_choice("variant", variant, _FILES)
        self.split = split
        self.variant = variant
        file = _file_of(Path(path), _FILES[variant].format(_SPLITS[split]))
        points, labels = _read(file)
        wide = points.dtype.kind != "f" or points.dtype.itemsize > 4
        pos = torch.from_numpy(points.astype(np.float64 if wide else np.float32))
        if normalize:
            pos = unit_sphere(pos).float()
        y = torch.from_numpy(labels.astype(np.int64))
        super().__init__(pos, y, CLASSES, transform, pre_transform)


def _file_of(path: Path, name: str) -> Path:
    for file in (path / "h5_files" / name, path / name):
        if file.is_file():
            return file
    raise FileNotFoundError(
        f"path must be ScanObjectNN's folder h5_files or its parent, got {path}; no file {name}"
    )


def _read(file: Path) -> tuple[np.ndarray, np.ndarray]:
    require("io", "ScanObjectNN", "h5py")
    import h5py

    try:
        with h5py.File(file, "r") as arrays:
            for name in ("data", "label"):
                check_count(arrays[name].size, f"values in {name}", 3 * MOST_POINTS)
            points, labels = arrays["data"][()], arrays["label"][()]
    # h5py raises OSError, KeyError, RuntimeError and others.
    except Exception as error:
        raise ValueError(f"{file} is corrupt or not a ScanObjectNN file: {error}") from error
    labels = labels.reshape(-1)
    if points.dtype.kind not in "fiu" or labels.dtype.kind not in "iu":
        raise ValueError(
            f"{file} must have numeric data and integer labels, got {points.dtype} and "
            f"{labels.dtype}"
        )
    if points.ndim != 3 or 0 in points.shape or points.shape[2] != 3 or len(points) != len(labels):
        raise ValueError(
            f"{file} must have data (N, P, 3) and label (N,), got {points.shape} and {labels.shape}"
        )
    if not np.isfinite(points).all():
        raise ValueError(f"{file} must have finite points, got NaN or infinity")
    if labels.min() < 0 or labels.max() >= len(CLASSES):
        raise ValueError(
            f"{file} must have labels between 0 and {len(CLASSES) - 1}, "
            f"got {labels.min()} to {labels.max()}"
        )
    return points, labels
