"""ShapeNet-part: parts of objects, in the text format with normals that is commonly used."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch_geometric.data import Data, Dataset

from evenfall.checks import check_choice

from ...transforms.normalize_sphere import unit_sphere
from .table import read_columns

SPLITS = ("train", "valid", "test", "train+valid")
PARTS = {
    "Airplane": (0, 4), "Bag": (4, 6), "Cap": (6, 8), "Car": (8, 12), "Chair": (12, 16),
    "Earphone": (16, 19), "Guitar": (19, 22), "Knife": (22, 24), "Lamp": (24, 28),
    "Laptop": (28, 30), "Motorbike": (30, 36), "Mug": (36, 38), "Pistol": (38, 41),
    "Rocket": (41, 44), "Skateboard": (44, 47), "Table": (47, 50),
}  # fmt: skip
"""Category to the first of its part labels and the one after the last."""


class ShapeNetPart(Dataset):
    """Objects as Data(pos=(N, 3), y=(N,) part, category=(1,)), with normals also x=(N, 3).

    The folder is shapenetcore_partanno_segmentation_benchmark_v0_normal as published:
    synsetoffset2category.txt, train_test_split/shuffled_{train,val,test}_file_list.json, and in a
    folder for each category text files with x y z nx ny nz part. Parts are numbered over all 16
    categories, 0 to 49. Files are read on access. Clouds are centred and scaled to the unit sphere.

    Args:
        path: the folder.
        split: train, valid, test or train+valid.
        categories: names of categories, such as "Chair"; None for all 16.
        normals: whether items have the normals as features x; the model then needs
            `in_channels: 3`.
        transform: applied to each item on access.

    Raises:
        FileNotFoundError: a file of the format is missing.
        ValueError: unknown split or category, or a file has another form.

    Source: Yi et al., A scalable active framework for region annotation in 3D shape collections,
    2016; https://shapenet.org.
    """

    classes = tuple(
        f"{name} {part}" for name, (first, end) in PARTS.items()
        for part in range(first, end)
    )  # fmt: skip
    parts_of_categories = tuple(range(*bounds) for bounds in PARTS.values())

    def __init__(
        self, path: str | Path, split: str = "train", categories: Sequence[str] | None = None,
        normals: bool = False, transform: Callable[[Data], Data] | None = None,
    ) -> None:  # fmt: skip
        check_choice("split", split, SPLITS)
        if categories is not None and (unknown := sorted(set(categories) - set(PARTS))):
            raise ValueError(f"categories must be of {list(PARTS)}, got {unknown}")
        super().__init__(None, transform)
        self.path, self.normals = Path(path), normals
        folders = _categories(self.path / "synsetoffset2category.txt")
        names = [name.replace("valid", "val") for name in split.split("+")]
        listed = [entry for name in names for entry in _entries(self.path, name)]
        wanted = set(PARTS if categories is None else categories)
        self.items = []
        for entry in listed:
            _, folder, shape = (*entry.split("/"), "", "")[:3]
            if folder not in folders:
                raise ValueError(f"{self.path}: the split names {entry!r}, an unknown category")
            if folders[folder] in wanted:
                self.items.append((folders[folder], self.path / folder / f"{shape}.txt"))

    @property
    def num_classes(self) -> int:
        """Number of parts of all categories, 50."""
        return len(self.classes)

    def len(self) -> int:
        """Number of objects."""
        return len(self.items)

    def get(self, idx: int) -> Data:
        """The object before `transform`."""
        category, file = self.items[idx]
        table = read_columns(file, 7)
        labels = table[:, 6]
        first, end = PARTS[category]
        if not ((labels >= first) & (labels < end) & (labels == labels.round())).all():
            raise ValueError(f"{file}: parts of {category} must be {first} to {end - 1}")
        data = Data(
            pos=unit_sphere(torch.from_numpy(table[:, :3])).float(),
            y=torch.from_numpy(labels.astype(np.int64)),
            category=torch.tensor([list(PARTS).index(category)]),
        )
        if self.normals:
            data.x = torch.from_numpy(table[:, 3:6]).float()
        return data


def _categories(file: Path) -> dict[str, str]:
    """Folder to category."""
    rows = [line.split() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if any(len(row) != 2 or row[0] not in PARTS for row in rows):
        raise ValueError(f"{file} must have lines CATEGORY FOLDER of {list(PARTS)}")
    return {folder: name for name, folder in rows}


def _entries(path: Path, split: str) -> list[str]:
    file = path / "train_test_split" / f"shuffled_{split}_file_list.json"
    entries = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise ValueError(f"{file} must be a list of strings")
    return entries
