"""Point clouds and event recordings from the data sets that plugins register as arrays.

    contents    the model is called with
    "points"    pos (N, D), batch (N,), batch_size
    "events"    x (N, 1) polarity, pos (N, 1 + k) milliseconds and pixels, batch (N,), batch_size

as torch_geometric's models are: N points or events of all samples of the batch, one after another.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evenfall import registry
from evenfall.datasets import split_fold
from evenfall.errors import shorten
from evenfall.recipes import refuse_flags

from .source import Batch, Part, Source

CONTENTS = ("points", "events")


class ArraySource(Source):
    """Samples of a registered data set, in memory.

    Args:
        name: of the data set.
        path: its folder or file.
        splits: its splits for training and test.
        folds: None for these splits as they are; a number, to put the samples of both together in
            a fixed random order and test on one of so many parts, training on the others.
        fold: the number of that part.
        options: of the data set.

    Raises:
        ValueError: the data set has other contents or no such options, or a split has no samples.
    """

    def __init__(
        self,
        name: str,
        path: str | Path,
        splits: tuple[str, str],
        folds: int | None = None,
        fold: int = 0,
        **options: Any,
    ) -> None:
        contents = registry.datasets.provenance(name).metadata.get("contents")
        if contents not in CONTENTS:
            raise ValueError(
                f"data {shorten(name)} must contain {' or '.join(CONTENTS)}, got {contents}"
            )
        read = registry.datasets.get(name)
        try:
            refuse_flags(read, options)
            opened = [read(path, split, **options) for split in splits]
        except TypeError as error:
            raise ValueError(f"data_options of {shorten(name)}: {error}") from error
        convert = _points if contents == "points" else _events
        parts = [[convert(one[i]) for i in range(len(one))] for one in opened]
        if folds is not None:
            parts = _fold(parts[0] + parts[1], folds, fold)
        for split, samples in zip(splits, parts, strict=True):
            if not samples:
                raise ValueError(f"split {shorten(split)} of data {shorten(name)} has no samples")
        self.samples = {"train": parts[0], "test": parts[1]}
        sizes = {part: len(samples) for part, samples in self.samples.items()}
        super().__init__(sizes, len(opened[0].classes))

    def read(self, part: Part, rows: Tensor) -> Batch:
        chosen = [self.samples[part][row] for row in rows.tolist()]
        counts = torch.tensor([len(one["pos"]) for one in chosen])
        arguments = {
            name: torch.cat([one[name] for one in chosen]) for name in chosen[0] if name != "label"
        }
        arguments["batch"] = torch.repeat_interleave(torch.arange(len(chosen)), counts)
        target = torch.stack([one["label"] for one in chosen])
        return Batch((), arguments | {"batch_size": len(chosen)}, target)


def _points(arrays: Mapping[str, Any]) -> dict[str, Tensor]:
    return {"pos": torch.as_tensor(arrays["pos"]).float(), "label": _label(arrays)}


def _events(arrays: Mapping[str, Any]) -> dict[str, Tensor]:
    columns = [arrays["t"] / 1000, arrays["x"], *([arrays["y"]] if "y" in arrays else [])]
    return {
        "x": torch.as_tensor(arrays["p"]).float().unsqueeze(1),
        "pos": torch.from_numpy(np.stack(columns, 1).astype(np.float32)),
        "label": _label(arrays),
    }


def _label(arrays: Mapping[str, Any]) -> Tensor:
    return torch.as_tensor(np.asarray(arrays["label"]).reshape(())).long()


def _fold(samples: list[Any], folds: int, fold: int) -> list[list[Any]]:
    return [[samples[i] for i in rows] for rows in split_fold(len(samples), folds, fold % folds)]
