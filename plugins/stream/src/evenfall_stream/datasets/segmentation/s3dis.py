"""S3DIS: rooms of six areas, in the aligned text version 1.2, divided into blocks."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import Data, Dataset

from evenfall.checks import check_choice, check_integer, check_number

from .table import read_columns

AREAS = range(1, 7)
CLASSES = (
    "ceiling", "floor", "wall", "beam", "column", "window", "door", "table", "chair", "sofa",
    "bookcase", "board", "clutter",
)  # fmt: skip
_LEAST = 100
"""Blocks with fewer points are left out."""


class S3DIS(Dataset):
    """Blocks of rooms as Data(pos=(P, 3), x=(P, 3), y=(P,)).

    The folder is Stanford3dDataset_v1.2_Aligned_Version as published:
    Area_*/ROOM/Annotations/CLASS_NUMBER.txt with x y z in metres and red, green, blue from 0 to
    255. Unknown class names, such as stairs, are clutter. A room is divided into square columns.
    `pos` is in metres from the column's centre and the room's lowest point, `x` the colours from 0
    to 1; the model needs `in_channels: 3`. In training the points of a block are drawn again on
    each access; otherwise they are the same each time.

    Args:
        path: the folder.
        split: train, valid, test or train+valid.
        test_area: the area of `test`.
        valid_area: the area of `valid`.
        block: side of a column in metres.
        points: points drawn from a block, without replacement where it has enough.
        transform: applied to each item on access.

    Raises:
        FileNotFoundError: no such areas.
        ValueError: an unknown split or area, or a file of another form.

    Source: Armeni et al., 3D Semantic Parsing of Large-Scale Indoor Spaces, 2016. Blocks are
    PointNet's protocol, arXiv 1612.00593.
    """

    classes = CLASSES

    def __init__(
        self, path: str | Path, split: str = "train", test_area: int = 5, valid_area: int = 6,
        block: float = 1.0, points: int = 4096, transform: Callable[[Data], Data] | None = None,
    ) -> None:  # fmt: skip
        if test_area not in AREAS or valid_area not in AREAS or test_area == valid_area:
            raise ValueError(
                "test_area and valid_area must be different areas from 1 to 6, "
                f"got {test_area} and {valid_area}"
            )
        check_number("block", block, above=True)
        check_integer("points", points, 1)
        others = [area for area in AREAS if area not in (test_area, valid_area)]
        areas = {"train": others, "valid": [valid_area], "test": [test_area],
                 "train+valid": [*others, valid_area]}  # fmt: skip
        check_choice("split", split, areas)
        super().__init__(None, transform)
        self.block, self.points, self.redraw = block, points, split.startswith("train")
        found = [room for area in areas[split] for room in _rooms(Path(path), area)]
        if not found:
            raise FileNotFoundError(f"{path} has no rooms of the areas {areas[split]}")
        self.items = [
            (room, key) for room in found for key in _columns(read_room(room)[0], block)[0]
        ]

    @property
    def num_classes(self) -> int:
        """Thirteen."""
        return len(self.classes)

    def len(self) -> int:
        """Number of blocks."""
        return len(self.items)

    def get(self, idx: int) -> Data:
        """The block before `transform`."""
        room, key = self.items[idx]
        table, labels = read_room(room)
        members = np.flatnonzero((_columns(table, self.block)[1] == key).all(1))
        generator = None if self.redraw else torch.Generator().manual_seed(idx)
        if len(members) >= self.points:
            rows = torch.randperm(len(members), generator=generator)[: self.points]
        else:
            rows = torch.randint(len(members), (self.points,), generator=generator)
        chosen = members[rows.numpy()]
        low = table[:, :3].min(0)
        centre = np.array([*low[:2] + (np.array(key) + 0.5) * self.block, low[2]])
        return Data(
            pos=torch.from_numpy(table[chosen, :3] - centre).float(),
            x=torch.from_numpy(table[chosen, 3:] / 255).float(),
            y=torch.from_numpy(labels[chosen]),
        )


@lru_cache(maxsize=8)
def read_room(room: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(N, 6) positions and colours, and (N,) classes, of a room's folder."""
    files = sorted((room / "Annotations").glob("*.txt"))
    if not files:
        raise FileNotFoundError(f"{room} has no Annotations/*.txt")
    tables = [read_columns(file, 6) for file in files]
    names = [file.stem.rpartition("_")[0] for file in files]
    known = [CLASSES.index(name if name in CLASSES else "clutter") for name in names]
    return np.concatenate(tables), np.repeat(known, [len(table) for table in tables])


def _rooms(path: Path, area: int) -> list[Path]:
    return sorted(folder.parent for folder in path.glob(f"Area_{area}/*/Annotations"))


def _columns(
    table: NDArray[np.float64], block: float
) -> tuple[list[tuple[int, int]], NDArray[np.int64]]:
    """The columns with enough points, and the column of each point, (N, 2)."""
    places = ((table[:, :2] - table[:, :2].min(0)) // block).astype(np.int64)
    keys, counts = np.unique(places, axis=0, return_counts=True)
    return [(int(a), int(b)) for a, b in keys[counts >= _LEAST]], places
