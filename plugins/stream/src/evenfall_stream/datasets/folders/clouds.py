"""A folder of point clouds or meshes, one folder for each class."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch_geometric.data import Data, Dataset

from evenfall.checks import check_integer

from ..readers.inputs import CLOUDS, Shape, read_shape
from .class_files import list_files, select_split

_KEPT_POINTS = 2**25
"""Points and triangles that stay in memory, about 0.8 GB."""


class CloudFolder(Dataset):
    """Clouds as Data(pos=(N, 3), y=(1,) class), centred and scaled to the unit sphere.

    Args:
        path: as of `RecordingFolder`, with files of clouds or meshes; see `read_cloud`.
        split: train, valid, test or train+valid.
        points: points to sample from a mesh; new ones on each access, from torch's generator. A
            cloud keeps its points.
        valid_share: of the clouds, if there are no folders of splits.
        test_share: the same for test.
        transform: applied to each item on access.

    Raises:
        FileNotFoundError: no such folder, or no files of that split in it.
        ImportError: a format needs a package that is not installed.
        ValueError: an option is out of range, a class has too few files, or, on access, a file
            cannot be read.
    """

    def __init__(
        self, path: str | Path, split: str = "train", *, points: int = 1024,
        valid_share: float = 0.2, test_share: float = 0.2,
        transform: Callable[[Data], Data] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(None, transform)
        check_integer("points", points, 1)
        self.points = points
        self.classes, files = list_files(Path(path), CLOUDS)
        self._files = select_split(files, split, valid_share, test_share)
        self._kept: dict[int, Shape] = {}
        self._kept_points = 0

    @property
    def num_classes(self) -> int:
        """Number of classes, also if a split lacks some."""
        return len(self.classes)

    @property
    def files(self) -> list[Path]:
        """The file of each item."""
        return [self._files[index].path for index in self.indices()]

    def len(self) -> int:
        """Number of clouds."""
        return len(self._files)

    def get(self, idx: int) -> Data:
        """The cloud before `transform`."""
        file = self._files[idx]
        shape = self._kept.get(idx)
        if shape is None:
            shape = read_shape(file.path)
            if self._kept_points + shape.size <= _KEPT_POINTS:
                self._kept[idx] = shape
                self._kept_points += shape.size
        return shape.cloud(self.points, file.label)
