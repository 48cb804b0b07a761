"""N-MNIST: digits recorded by an event camera that makes three movements in 300 ms."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data, Dataset

from evenfall.checks import check_choice
from evenfall.errors import shorten

from .archives import read_files
from .readers import Recording, check_recording, read_nmnist

SPLITS = ("train", "valid", "test", "train+valid")
SUBSET = "NMNISTsmall.tar.gz"
_VALID_SHARE = 10
"""One in this many training recordings of each class is in `valid`."""
_LISTS = {"train": "train1K.txt", "test": "test100.txt"}
_DIGITS = tuple("0123456789")


class _Sample(NamedTuple):
    id: int
    label: int
    raw: bytes


class NMNIST(Dataset):
    """N-MNIST in memory: the full data set or SLAYER's subset of 1,000 and 100 recordings.

    Items are Data(x=(N, 1) polarity, pos=(N, 3) time in ms, x and y in pixels, y=(1,) class),
    float32 and int64, N events sorted by time. An event takes five bytes in memory.

    Splits: `test` is the official one. `valid` is a fixed tenth of each class of the official
    training recordings, those with the lowest hash of the recording's number; `train` is the rest;
    `train+valid` is all of them.

    Args:
        path: one of
            the archive NMNISTsmall.tar.gz, or a folder with it or its unpacked files:
            <id>.bs2 and the lists train1K.txt and test100.txt with lines of id and class;
            a folder with the published Train.zip and Test.zip, or their unpacked files:
            Train/<class>/<id>.bin and Test/<class>/<id>.bin.
        split: one of train, valid, test, train+valid.
        transform: applied to each item on access.

    Raises:
        FileNotFoundError: no such path, or no recordings of that split in it.
        ValueError: unknown split; a corrupt archive, list or recording; a recording that is
            listed but missing, or occurs twice.

    Source: Orchard et al., Converting static image datasets to spiking neuromorphic datasets
    using saccades, 2015; the subset is from bamsumit/slayerPytorch.
    """

    sensor_size = (34, 34)
    classes = _DIGITS

    def __init__(
        self,
        path: str | Path,
        split: str = "train",
        transform: Callable[[Data], Data] | None = None,
    ) -> None:
        check_choice("split", split, SPLITS)
        super().__init__(None, transform)
        self.split = split
        samples = _read(Path(path), "test" if split == "test" else "train")
        self._samples = _in_split(samples, split)
        for sample in self._samples:
            _check(sample)

    @property
    def num_classes(self) -> int:
        """Ten."""
        return len(self.classes)

    @property
    def labels(self) -> Tensor:
        """The class of each recording, (recordings,) int64."""
        return torch.tensor([self._samples[i].label for i in self.indices()], dtype=torch.long)

    @property
    def ids(self) -> Tensor:
        """The number of each recording, as in its file name, (recordings,) int64."""
        return torch.tensor([self._samples[i].id for i in self.indices()], dtype=torch.long)

    def len(self) -> int:
        """Number of recordings of the split."""
        return len(self._samples)

    def get(self, idx: int) -> Data:
        """The recording before `transform`."""
        sample = self._samples[idx]
        return read_nmnist(sample.raw).to_data(sample.label)

    def recording(self, index: int) -> tuple[Recording, int]:
        """The raw recording and the class of the item at `index`."""
        sample = self._samples[self.indices()[index]]
        return read_nmnist(sample.raw), sample.label


def _read(path: Path, part: str) -> list[_Sample]:
    """The official recordings of `part`, train or test, sorted by number."""
    files: dict[PurePosixPath, bytes] = {}
    for name, raw in _files(path, part.capitalize()):
        if name in files:
            raise ValueError(f"{path} contains {name} twice")
        files[name] = raw
    samples = _subset_samples(path, files, _LISTS[part]) or _published_samples(
        files, part.capitalize()
    )
    if not samples:
        raise FileNotFoundError(f"{path} contains no {part} recordings of N-MNIST")
    return sorted(samples)


def _files(path: Path, folder: str) -> Iterator[tuple[PurePosixPath, bytes]]:
    """The files that may belong to `folder`, Train or Test; names include the folder."""
    if (path / folder).is_dir():
        return ((folder / name, raw) for name, raw in read_files(path / folder, (".bin",)))
    for archive in (path / SUBSET, path / f"{folder}.zip"):
        if archive.is_file():
            path = archive
    return read_files(path, (".bs2", ".bin", ".txt"))


def _subset_samples(path: Path, files: Mapping[PurePosixPath, bytes], title: str) -> list[_Sample]:
    """SLAYER's subset: a list of numbers and classes, and the recordings next to it."""
    samples = []
    for name in files:
        if name.name != title:
            continue
        for number, line in enumerate(files[name].decode("ascii", "replace").splitlines(), 1):
            fields = line.split()
            if not fields or fields[0].startswith("#"):
                continue
            if len(fields) != 2 or not fields[0].isdecimal() or fields[1] not in _DIGITS:
                raise ValueError(
                    f"{path}: line {number} of {name} must be an id and a class, "
                    f"got {shorten(line)}"
                )
            recording = name.with_name(f"{fields[0]}.bs2")
            if recording not in files:
                raise ValueError(f"{path}: {name} lists {recording.name}, which is missing")
            samples.append(_Sample(int(fields[0]), int(fields[1]), files[recording]))
    return samples


def _published_samples(files: Mapping[PurePosixPath, bytes], folder: str) -> list[_Sample]:
    """The published layout: .../<folder>/<class>/<id>.bin."""
    samples = []
    for name, raw in files.items():
        above, digit = name.parts[-3:-2], name.parent.name
        if name.suffix == ".bin" and above == (folder,) and digit in _DIGITS:
            if not name.stem.isdecimal():
                raise ValueError(f"the file name of a recording must be a number, got {name}")
            samples.append(_Sample(int(name.stem), int(digit), raw))
    return samples


def _in_split(samples: list[_Sample], split: str) -> list[_Sample]:
    """Select the samples of `split` from the official ones."""
    if split in ("test", "train+valid"):
        return samples
    valid = set()
    for label in range(len(_DIGITS)):
        ids = sorted((sample.id for sample in samples if sample.label == label), key=_rank)
        valid.update(ids[: round(len(ids) / _VALID_SHARE)])
    return [sample for sample in samples if (sample.id in valid) == (split == "valid")]


def _rank(number: int) -> bytes:
    return hashlib.sha256(f"nmnist {number}".encode()).digest()


def _check(sample: _Sample) -> None:
    try:
        check_recording(read_nmnist(sample.raw), NMNIST.sensor_size)
    except ValueError as error:
        raise ValueError(f"recording {sample.id} of N-MNIST is corrupt: {error}") from error
