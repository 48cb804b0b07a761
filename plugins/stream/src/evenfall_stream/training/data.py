"""The data of a run: data sets by name, transformed examples, batches."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.data import Dataset, Sampler
from torch_geometric.data import Data

from evenfall import registry
from evenfall.errors import shorten
from evenfall.recipes import refuse_flags
from evenfall.references import import_reference

from ..datasets.from_arrays import open_registered
from ..seeds import derived_seed, seeded


class _Source(NamedTuple):
    make: str | Callable[..., Dataset]
    options: dict[str, Any]


DATASETS = {
    "recordings": _Source("RecordingFolder", {}),
    "clouds": _Source("CloudFolder", {}),
    "modelnet10": _Source("ModelNet10Clouds", {}),
    "modelnet40": _Source("modelnet", {"name": "40"}),
    "scanobjectnn": _Source("ScanObjectNN", {}),
    "shapenet-part": _Source("ShapeNetPart", {}),
    "s3dis": _Source("S3DIS", {}),
    "synthetic-rooms": _Source("SyntheticRooms", {}),
    "nmnist": _Source("NMNIST", {}),
    "dvs128-gesture": _Source("tonic_split", {"name": "DVSGesture"}),
    "spoken-digits": _Source("SpokenDigits", {}),
    "shd": _Source("tonic_split", {"name": "SHD"}),
    "ssc": _Source("tonic_split", {"name": "SSC"}),
}
"""Name to a callable or its name in evenfall_stream.datasets; takes folder, split and options."""


def register_dataset(name: str, make: Callable[..., Dataset]) -> None:
    """Register your own data set for the recipes of this process.

    Args:
        name: the value of `dataset` in a recipe.
        make: called as make(folder, split=..., **dataset_options); returns a data set with items
            Data(pos=(N, 3), y=(1,)), or for events Data(x=(N, 1), pos=(N, 1 + k), y=(1,)), and
            with `classes`, the names of the classes, or `num_classes`.

    Raises:
        ValueError: another data set has that name.
    """
    if DATASETS.get(name, _Source(make, {})).make is not make:
        raise ValueError(
            f"name must be new, got {shorten(name)}, which is another data set; "
            f"known are {sorted(DATASETS)}"
        )
    DATASETS[name] = _Source(make, {})


def open_dataset(name: str, data: str | Path, split: str, **options: Any) -> Dataset:
    """One split of a data set of this plugin, of `register_dataset` or of another plugin, or of
    your own class as module:Class.

    Raises:
        FileNotFoundError: the data is missing.
        ImportError: a package that this data set needs is not installed, or your own class cannot
            be imported.
        ValueError: the data set, the split or an option is unknown.
    """
    source = _source(name)
    make = source.make
    if isinstance(make, str):
        make = getattr(import_module("evenfall_stream.datasets"), make)
    try:
        refuse_flags(make, options)
        return make(data, split=split, **{**source.options, **options})
    except TypeError as error:
        raise ValueError(f"dataset_options of {name}: {error}") from None


def _source(name: str) -> _Source:
    if ":" in name:
        make = import_reference(name, "dataset")
        if not (inspect.isclass(make) and hasattr(make, "__getitem__")):
            raise ValueError(f"dataset {name!r} must be a class of a data set, with __getitem__")
        return _Source(make, {})
    names = {*DATASETS, *registry.datasets}
    if name not in names:
        raise ValueError(
            f"dataset must be one of {sorted(names)}, or module:Class, got {shorten(name)}"
        )
    return DATASETS.get(name, _Source(partial(open_registered, name), {}))


def class_names(dataset: Any) -> list[str]:
    """The names of the classes, or their numbers if the data set has no names."""
    names = getattr(dataset, "classes", None)
    return [str(one) for one in (range(dataset.num_classes) if names is None else names)]


class Examples(Dataset):
    """A data set that reads and transforms each example with its own seed.

    The key is an index or (epoch, index). Random numbers depend on seed, epoch and index alone, not
    on the worker or rank.

    Args:
        dataset: of torch_geometric.data.Data.
        transform: applied to each example.
        seed: of the run.
    """

    def __init__(
        self, dataset: Dataset, transform: Callable[[Data], Data] | None = None, seed: int = 0
    ) -> None:
        self.dataset, self.transform, self.seed = dataset, transform, seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: int | tuple[int, int]) -> Data:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        with seeded(self.seed, epoch, index):
            data = self.dataset[index]
            return data if self.transform is None else self.transform(data)


class ShuffledBatches(Sampler):
    """Batches of keys (epoch, index), shuffled each epoch; each rank gets its slice of every batch.

    An incomplete last batch is dropped; its examples differ from epoch to epoch. A data set smaller
    than a batch is one batch.

    Args:
        examples: number of examples.
        batch_size: examples per step over all ranks, a multiple of `ranks`.
        seed: of the run.
        rank: of this process.
        ranks: number of processes.

    Raises:
        ValueError: batch_size is not a multiple of ranks, or there are fewer examples than ranks.
    """

    def __init__(
        self, examples: int, batch_size: int, seed: int, rank: int = 0, ranks: int = 1
    ) -> None:
        if batch_size % ranks:
            raise ValueError(
                f"batch_size must be a multiple of the {ranks} ranks, got {batch_size}"
            )
        if examples < ranks:
            raise ValueError(
                f"the training split must have an example per rank, at least {ranks}, "
                f"got {examples}"
            )
        self.examples, self.batch_size = examples, min(batch_size, examples // ranks * ranks)
        self.seed, self.rank, self.ranks = seed, rank, ranks
        self.epoch = 0

    def __len__(self) -> int:
        return self.examples // self.batch_size

    def __iter__(self) -> Iterator[Sequence[tuple[int, int]]]:
        generator = torch.Generator().manual_seed(derived_seed(self.seed, self.epoch))
        order = torch.randperm(self.examples, generator=generator).tolist()
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            batch = order[start : start + self.batch_size]
            yield [(self.epoch, index) for index in batch[self.rank :: self.ranks]]
