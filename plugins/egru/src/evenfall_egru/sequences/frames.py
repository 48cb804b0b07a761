"""Frames in memory, as a torch data set that returns whole batches.

Dimensions: N sequences, T steps, F features per step, B batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from evenfall import registry
from evenfall.errors import shorten
from evenfall.recipes import refuse_flags


class Frames(Dataset):
    """All sequences of one split.

    Args:
        x: (N, T, F) float32.
        labels: (N,) int64.
        classes: names of the classes.
    """

    def __init__(self, x: torch.Tensor, labels: torch.Tensor, classes: Sequence[str]) -> None:
        self.x, self.labels, self.classes = x, labels, tuple(classes)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"inputs_embeds": self.x[index], "labels": self.labels[index]}

    def __getitems__(self, indices: list[int]) -> dict[str, torch.Tensor]:
        """A whole batch at once, (B, T, F) and (B,)."""
        return self.batch(torch.as_tensor(indices))

    def batch(self, rows: torch.Tensor | slice) -> dict[str, torch.Tensor]:
        """The arguments of EgruForSequenceClassification for some rows."""
        return {"inputs_embeds": self.x[rows], "labels": self.labels[rows]}


def read_frames(dataset: str, path: str | Path, split: str, options: dict[str, Any]) -> Frames:
    """Read one split of a registered data set of frames.

    Args:
        dataset: a registered name whose metadata `contents` is "frames".
        path: folder or file of the data.
        split: "train", "valid" or "test".
        options: those that the data set documents.

    Raises:
        UnknownNameError: no such data set.
        FileNotFoundError: the data is not found.
        ValueError: a data set of other contents, an unknown option, no sequences, or sequences that
            differ in shape.
    """
    contents = registry.datasets.provenance(dataset).metadata.get("contents")
    if contents != "frames":
        raise ValueError(
            f"dataset must have frames, but {shorten(dataset)} has {shorten(contents)}"
        )
    read = registry.datasets.get(dataset)
    try:
        refuse_flags(read, options)
        examples = read(path, split, **options)
    except TypeError as error:
        raise ValueError(f"dataset_options of {shorten(dataset)}: {error}") from None
    if not len(examples):
        raise ValueError(f"{dataset} {split} must have at least one sequence, got none")
    items = [examples[index] for index in range(len(examples))]
    shapes = {item["x"].shape for item in items}
    if len(shapes) != 1:
        raise ValueError(f"{dataset} {split}: sequences must have one shape, got {shorten(shapes)}")
    return Frames(
        torch.from_numpy(np.stack([item["x"] for item in items], dtype=np.float32)),
        torch.as_tensor([int(item["label"]) for item in items]),
        examples.classes,
    )


def all_options(dataset: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options of a registered data set, with the defaults of those that are not given."""
    parameters = inspect.signature(registry.datasets.get(dataset)).parameters.values()
    defaults = {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY}
    return {**defaults, **options}
