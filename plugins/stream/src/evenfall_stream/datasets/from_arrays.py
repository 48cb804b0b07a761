"""Data sets that other plugins register, as torch_geometric data sets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data, Dataset

from evenfall import registry
from evenfall.datasets import ArrayDataset
from evenfall.errors import shorten

from .readers import Recording

CONTENTS = ("events", "points")


class FromArrays(Dataset):
    """Examples as Data(x, pos, y) for events or Data(pos, y) for points.

    Args:
        examples: an `evenfall.datasets.ArrayDataset`.
        contents: "events" or "points".
    """

    def __init__(self, examples: ArrayDataset, contents: str) -> None:
        super().__init__()
        self.examples, self.contents = examples, contents
        self.classes = list(examples.classes)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    def len(self) -> int:
        """Number of examples."""
        return len(self.examples)

    def get(self, idx: int) -> Data:
        """One example.

        Raises:
            ValueError: an array is missing.
        """
        arrays = self.examples[idx]
        names = ("t", "x", "p", "label") if self.contents == "events" else ("pos", "label")
        if any(name not in arrays for name in names):
            raise ValueError(
                f"example {idx}: {self.contents} must have the arrays {names}, got {sorted(arrays)}"
            )
        label = int(arrays["label"])
        if self.contents == "events":
            return _recording(arrays).to_data(label)
        pos = torch.from_numpy(np.array(arrays["pos"]))
        return Data(pos=pos, y=torch.tensor([label]))


def _recording(arrays: Mapping[str, Any]) -> Recording:
    t, x, p = (np.asarray(arrays[name], np.int64) for name in ("t", "x", "p"))
    return Recording(t, x, np.asarray(arrays["y"], np.int64) if "y" in arrays else None, p)


def open_registered(name: str, data: str | Path, split: str, **options: Any) -> FromArrays:
    """One split of a data set in `evenfall.registry.datasets`.

    Raises:
        UnknownNameError: no plugin registers a data set of that name.
        ValueError: its contents are neither events nor points, or there is no such split.
        FileNotFoundError: the data is missing.
    """
    contents = registry.datasets.provenance(name).metadata.get("contents")
    if contents not in CONTENTS:
        raise ValueError(
            f"dataset {name!r} must contain one of {CONTENTS}, got {shorten(contents)}"
        )
    return FromArrays(registry.datasets.get(name)(data, split, **options), contents)
