"""The data sets as NumPy arrays, for models of any framework; see `evenfall.datasets`.

Each function opens one split and takes the options of the data set of that name.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch_geometric.data import Dataset

from .folders import CloudFolder, RecordingFolder
from .modelnet10 import ModelNet10Clouds
from .modelnet_meshes import modelnet
from .nmnist import NMNIST
from .scanobjectnn import ScanObjectNN
from .segmentation import S3DIS, ShapeNetPart, SyntheticRooms
from .spoken_digits import SpokenDigits
from .tonic import tonic_split


class ArrayExamples:
    """The examples of a torch_geometric data set as arrays.

    Args:
        dataset: has `classes`.
        read: called with the data set and an index; returns (arrays by name, class or classes of
            the points).
    """

    def __init__(
        self, dataset: Dataset, read: Callable[[Any, int], tuple[dict[str, np.ndarray], Any]]
    ) -> None:
        self.dataset, self.read = dataset, read
        self.classes = list(dataset.classes)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        arrays, label = self.read(self.dataset, range(len(self))[index])
        return {**arrays, "label": np.asarray(label, np.int64)}


def _events(dataset: Any, index: int) -> tuple[dict[str, np.ndarray], int]:
    recording, label = dataset.recording(index)
    arrays = recording._asdict()
    return {name: array for name, array in arrays.items() if array is not None}, label


def _points(dataset: Any, index: int) -> tuple[dict[str, np.ndarray], int]:
    item = dataset[index]
    return {"pos": item.pos.numpy().copy()}, int(item.y)


def _segments(dataset: Any, index: int) -> tuple[dict[str, np.ndarray], Any]:
    item = dataset[index]
    arrays = {"pos": item.pos, **({} if item.x is None else {"x": item.x})}
    return {name: array.numpy().copy() for name, array in arrays.items()}, item.y.numpy()


def nmnist(path: str | Path, split: str) -> ArrayExamples:
    """N-MNIST; see `evenfall_stream.datasets.NMNIST`."""
    return ArrayExamples(NMNIST(path, split), _events)


def dvs128_gesture(path: str | Path, split: str, *, sort: bool = False) -> ArrayExamples:
    """DVS128-Gesture, through tonic; see `evenfall_stream.datasets.tonic_split`."""
    return ArrayExamples(tonic_split(path, "DVSGesture", split, sort=sort), _events)


def shd(path: str | Path, split: str, *, sort: bool = False) -> ArrayExamples:
    """Spiking Heidelberg Digits, through tonic; see `evenfall_stream.datasets.tonic_split`."""
    return ArrayExamples(tonic_split(path, "SHD", split, sort=sort), _events)


def spoken_digits(
    path: str | Path, split: str, *, speaker: str | None = None, sound: dict[str, Any] | None = None
) -> ArrayExamples:
    """FSDD's spoken digits as events; see `evenfall_stream.datasets.SpokenDigits`."""
    return ArrayExamples(SpokenDigits(path, split, speaker, sound), _events)


def ssc(path: str | Path, split: str, *, sort: bool = False) -> ArrayExamples:
    """Spiking Speech Commands, through tonic; see `evenfall_stream.datasets.tonic_split`."""
    return ArrayExamples(tonic_split(path, "SSC", split, sort=sort), _events)


def modelnet10(path: str | Path, split: str, *, fold: int = 0) -> ArrayExamples:
    """ModelNet10 as clouds; see `evenfall_stream.datasets.ModelNet10Clouds`."""
    return ArrayExamples(ModelNet10Clouds(path, split, fold=fold), _points)


def modelnet40(path: str | Path, split: str, *, points: int = 1024) -> ArrayExamples:
    """ModelNet40, points sampled from meshes; see `evenfall_stream.datasets.modelnet`."""
    return ArrayExamples(modelnet(path, "40", split, points), _points)


def scanobjectnn(path: str | Path, split: str, *, variant: str = "objectbg") -> ArrayExamples:
    """ScanObjectNN; see `evenfall_stream.datasets.ScanObjectNN`."""
    return ArrayExamples(ScanObjectNN(path, split, variant), _points)


def recordings(path: str | Path, split: str, **options: Any) -> ArrayExamples:
    """Your own recordings; see `evenfall_stream.datasets.RecordingFolder`."""
    return ArrayExamples(RecordingFolder(path, split, **options), _events)


def clouds(path: str | Path, split: str, **options: Any) -> ArrayExamples:
    """Your own clouds; see `evenfall_stream.datasets.CloudFolder`."""
    return ArrayExamples(CloudFolder(path, split, **options), _points)


def s3dis(path: str | Path, split: str, **options: Any) -> ArrayExamples:
    """Blocks of S3DIS's rooms; see `evenfall_stream.datasets.S3DIS`."""
    return ArrayExamples(S3DIS(path, split, **options), _segments)


def shapenet_part(path: str | Path, split: str, **options: Any) -> ArrayExamples:
    """Objects with named parts; see `evenfall_stream.datasets.ShapeNetPart`."""
    return ArrayExamples(ShapeNetPart(path, split, **options), _segments)


def synthetic_rooms(path: str | Path, split: str, **options: Any) -> ArrayExamples:
    """Rooms of boxes; see `evenfall_stream.datasets.SyntheticRooms`."""
    return ArrayExamples(SyntheticRooms(path, split, **options), _segments)
