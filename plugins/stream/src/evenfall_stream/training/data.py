"""The data of a run: data sets by name, examples transformed and put into batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.data import Dataset, Sampler
from torch_geometric.data import Data

from evenfall import registry

from ..datasets.from_arrays import open_registered
from ..seeds import derived_seed, seeded


class _Source(NamedTuple):
    make: str | Callable[..., Dataset]
    options: dict[str, Any]


DATASETS = {
    "modelnet10": _Source("ModelNet10Clouds", {}),
    "modelnet40": _Source("modelnet", {"name": "40"}),
    "scanobjectnn": _Source("ScanObjectNN", {}),
    "nmnist": _Source("NMNIST", {}),
    "dvs128-gesture": _Source("tonic_split", {"name": "DVSGesture"}),
    "shd": _Source("tonic_split", {"name": "SHD"}),
    "ssc": _Source("tonic_split", {"name": "SSC"}),
}
"""Name to a callable, here of evenfall_stream.datasets, called with folder, split and options."""


def register_dataset(name: str, make: Callable[..., Dataset]) -> None:
    """Let the recipes of this process name a data set of your own.

    Args:
        name: what a recipe's `dataset` says.
        make: called as make(folder, split=..., **dataset_options); what it returns has a length,
            items Data(pos=(N, 3), y=(1,)), or for events Data(x=(N, 1), pos=(N, 1 + k), y=(1,)),
            and `classes`, their names, or `num_classes`.

    Raises:
        ValueError: another data set has that name.
    """
    if DATASETS.get(name, _Source(make, {})).make is not make:
        raise ValueError(f"name {name!r} is that of another data set; known are {sorted(DATASETS)}")
    DATASETS[name] = _Source(make, {})


def open_dataset(name: str, data: str | Path, split: str, **options: Any) -> Dataset:
    """One split of a data set: of this plugin, of `register_dataset`, or that a plugin registers.

    Raises:
        FileNotFoundError: the data is not there.
        ImportError: a package that this data set needs is not installed.
        ValueError: no data set of that name, no such split, or options it does not take.
    """
    known = {*DATASETS, *registry.datasets}
    if name not in known:
        raise ValueError(f"dataset must be one of {sorted(known)}, got {name!r}")
    source = DATASETS.get(name, _Source(partial(open_registered, name), {}))
    make = source.make
    if isinstance(make, str):
        make = getattr(import_module("evenfall_stream.datasets"), make)
    try:
        return make(data, split=split, **{**source.options, **options})
    except TypeError as error:
        raise ValueError(f"dataset_options of {name}: {error}") from None


def class_names(dataset: Any) -> list[str]:
    """The names of the classes, or their numbers where the data set has no names."""
    names = getattr(dataset, "classes", None)
    return [str(one) for one in (range(dataset.num_classes) if names is None else names)]


class Examples(Dataset):
    """A data set whose examples are read and transformed each with a seed of its own.

    The key is an index, or (epoch, index): what is drawn depends on seed, epoch and index alone,
    not on the worker or the rank that draws.

    Args:
        dataset: of torch_geometric.data.Data.
        transform: applied to each example.
        seed: of the whole run.
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
    """Batches of keys (epoch, index), shuffled anew each epoch; every rank takes its slice of each.

    The last examples that fill no batch are left out, others each epoch. A data set smaller than a
    batch is one batch.

    Args:
        examples: how many there are.
        batch_size: examples a step over all ranks, a multiple of `ranks`.
        seed: of the whole run.
        rank: of this process.
        ranks: processes that train together.

    Raises:
        ValueError: batch_size is no multiple of ranks, or there are fewer examples than ranks.
    """

    def __init__(
        self, examples: int, batch_size: int, seed: int, rank: int = 0, ranks: int = 1
    ) -> None:
        if batch_size % ranks:
            raise ValueError(f"batch_size ({batch_size}) must be a multiple of the {ranks} ranks")
        if examples < ranks:
            raise ValueError(f"{examples} training examples are too few for {ranks} ranks")
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
