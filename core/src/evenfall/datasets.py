"""What a plugin registers as a dataset: a function that opens one split as arrays.

    >>> read = evenfall.registry.datasets.get("nmnist")
    >>> examples = read("data/nmnist", "train")
    >>> examples[0]["t"], examples.classes[int(examples[0]["label"])]

An example maps names to NumPy arrays. It has no types of a framework, so the readers of one plugin
serve the models of another. The metadata `contents` of the registration says which arrays it has:

    contents     arrays of one example
    "events"     t (N,) int64 microseconds, not decreasing; x (N,) int64 column or channel;
                 y (N,) int64 row, absent for sensors of one dimension;
                 p (N,) int64 polarity, 0 or 1
    "points"     pos (N, D) float
    "segments"   pos (N, D) float; x (N, F) float, features of the points, if there are any
    "frames"     x (T, F) float32, F features at each of T steps

A labelled example also has `label`, int64, the index of its name in `classes`: of shape (), or (N,)
for "segments".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from evenfall.errors import shorten

_ORDER_SEED = 0


@runtime_checkable
class ArrayDataset(Protocol):
    """One split: a sequence of examples.

    Attributes:
        classes: the names of the classes, in the order of the labels; empty if there are none.
    """

    @property
    def classes(self) -> Sequence[str]:
        """The names of the classes."""

    def __len__(self) -> int:
        """Number of examples."""

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        """The arrays of one example, by name; the caller may change them.

        Raises:
            IndexError: `index` is not below the length.
        """


class OpenDataset(Protocol):
    """What the hook `evenfall_register_datasets` registers a reference to."""

    def __call__(self, path: str | Path, split: str, **options: Any) -> ArrayDataset:
        """Open one split.

        Args:
            path: folder or file of the data.
            split: "train", "valid" or "test", as far as the data set has them, or another split
                that it documents. These three never share an example.
            options: those that the data set documents; it refuses others.

        Raises:
            FileNotFoundError: no such file or folder.
            ImportError: a package that this data set needs is not installed.
            ValueError: no such split, or damaged data.
        """


def split_fold(samples: int, folds: int, fold: int) -> tuple[list[int], list[int]]:
    """Rows for training and for test, of a data set whose parts are tested one after another.

    The rows are in one random order, which depends on `samples` alone. Fold i is every `folds`-th
    row of that order from the i-th on, so each row is in one fold, and fold sizes differ by 1 at
    most. All that train on the same data set have the same folds.

    Args:
        samples: number of rows.
        folds: number of folds, at least 2.
        fold: the one to test on, from 0.

    Returns:
        The rows of the other folds, and those of the fold, both in the random order.

    Raises:
        ValueError: `folds` is not 2 to `samples`, or `fold` is not below `folds`.
    """
    import torch

    if isinstance(folds, bool) or not isinstance(folds, int) or not 2 <= folds <= samples:
        raise ValueError(f"folds must be an integer of 2 to {samples}, got {shorten(folds)}")
    if isinstance(fold, bool) or not isinstance(fold, int) or not 0 <= fold < folds:
        raise ValueError(f"fold must be an integer of 0 to {folds - 1}, got {shorten(fold)}")
    generator = torch.Generator().manual_seed(_ORDER_SEED)
    order = torch.randperm(samples, generator=generator).tolist()
    held = set(order[fold::folds])
    return [row for row in order if row not in held], [row for row in order if row in held]
