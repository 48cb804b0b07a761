"""Data sets of tonic as data sets of torch_geometric."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch_geometric.data import Data, Dataset

from ..extras import require
from .readers import Recording, check_recording

_HELD_OUT = 10
"""One training recording in so many belongs to `valid` where the data set has no such split."""


class TonicEvents(Dataset):
    """What `from_tonic` returns: Data(x=(N, 1) polarity, pos=(N, 1 + k), y=(1,) class)."""

    def __init__(
        self,
        source: Any,
        transform: Callable[[Data], Data] | None = None,
        sensor_size: Sequence[int] | None = None,
        sort: bool = False,
    ) -> None:
        super().__init__(None, transform)
        size = getattr(source, "sensor_size", None) if sensor_size is None else sensor_size
        if size is None or len(size) < 1:
            raise ValueError(f"sensor_size must be given: {type(source).__name__} states none")
        self.source, self.sort = source, sort
        # tonic writes (width, height, polarities), with a height of 1 for channels, and gives
        # events of a single polarity the p = 1.
        self.polarities = int(size[2]) if len(size) > 2 else 2
        self.sensor_size = tuple(int(extent) for extent in size[:2])
        if len(self.sensor_size) == 2 and self.sensor_size[1] == 1:
            self.sensor_size = self.sensor_size[:1]

    @property
    def classes(self) -> list[str]:
        """The names of the classes; empty where the data set has none."""
        names = getattr(self.source, "classes", [])
        return [name.decode() if isinstance(name, bytes) else str(name) for name in names]

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes) or super().num_classes

    def len(self) -> int:
        """Number of recordings."""
        return len(self.source)

    def get(self, idx: int) -> Data:
        """The recording before `transform`."""
        recording, label = self._read(idx)
        return recording.to_data(label)

    def recording(self, index: int) -> tuple[Recording, int]:
        """The recording as it was read, and its class, of the item at a position."""
        return self._read(self.indices()[index])

    def _read(self, number: int) -> tuple[Recording, int]:
        events, target = self.source[number]
        try:
            recording = check_recording(self._recording(events), self.sensor_size)
        except ValueError as error:
            name = type(self.source).__name__
            raise ValueError(f"recording {number} of {name}: {error}") from error
        return recording, int(target)

    def _recording(self, events: np.ndarray) -> Recording:
        names = events.dtype.names or ()
        wanted = ["t", "x", *(["y"] if len(self.sensor_size) == 2 else []), "p"]
        if absent := [name for name in wanted if name not in names]:
            raise ValueError(f"events must have the fields {wanted}, got {names} without {absent}")
        if self.sort:
            events = events[events["t"].argsort(kind="stable")]
        t, x, p = (events[name] for name in ("t", "x", "p"))
        y: np.ndarray | None = events["y"].astype(np.int64) if "y" in wanted else None
        p = p.astype(np.int64) if self.polarities > 1 else np.zeros(len(p), np.int64)
        return Recording(t.astype(np.int64), x.astype(np.int64), y, p)


def from_tonic(
    dataset: Any,
    transform: Callable[[Data], Data] | None = None,
    *,
    sensor_size: Sequence[int] | None = None,
    sort: bool = False,
) -> TonicEvents:
    """A data set of tonic, made without a transform of its own, for torch_geometric's DataLoader.

    Example: ``from_tonic(tonic.datasets.DVSGesture("data", train=True))``. Items are
    Data(x=(N, 1), pos=(N, 1 + k), y=(1,)): time in milliseconds since the first event; x and y in
    pixels, or the channel where the sensor has a height of 1 (SHD, SSC); x is the polarity, 0 for
    sensors of a single one.

    Args:
        dataset: has a length; its items are (events, class), a structured array with the fields
            t in microseconds, x, y where the sensor has rows, and p, 0 or 1. It need not be
            tonic's.
        transform: applied to each item when it is read.
        sensor_size: (width, height, polarities) or less of it; None for dataset.sensor_size.
        sort: put events in the order of time, where a data set does not.

    Raises:
        ValueError: no sensor_size; when read: fields that are absent, times that run backwards,
            events outside the sensor.
    """
    return TonicEvents(dataset, transform, sensor_size, sort)


def tonic_split(
    path: str | Path,
    name: str,
    split: str = "train",
    transform: Callable[[Data], Data] | None = None,
    *,
    sort: bool = False,
) -> Dataset:
    """A split of a data set that tonic downloads to `path` where it is not there.

    Args:
        path: folder for the data.
        name: class of tonic.datasets, such as DVSGesture, SHD, SSC or NMNIST.
        split: train, valid, test or train+valid. SSC has a `valid` of its own, and no
            train+valid here; of the others, `valid` is a fixed tenth of the training recordings,
            those whose file name, or number where they share a file, has the lowest hash.
        transform: applied to each item when it is read.
        sort: see `from_tonic`.

    Raises:
        ImportError: tonic is not installed.
        ValueError: tonic has no such data set; unknown split.
    """
    splits = ("train", "valid", "test") + (() if name == "SSC" else ("train+valid",))
    if split not in splits:
        raise ValueError(f"split of {name} must be one of {', '.join(splits)}, got {split!r}")
    require("tonic", name)
    import tonic.datasets

    make = getattr(tonic.datasets, name, None)
    if make is None:
        raise ValueError(f"name must be a data set of tonic, got {name!r}")
    if name == "SSC":
        return from_tonic(make(str(path), split=split), transform, sort=sort)
    whole = from_tonic(make(str(path), train=split != "test"), transform, sort=sort)
    if split in ("test", "train+valid"):
        return whole
    ranked = sorted(range(len(whole)), key=lambda index: _rank(whole.source, index))
    held_out = round(len(ranked) / _HELD_OUT)
    return whole[sorted(ranked[:held_out] if split == "valid" else ranked[held_out:])]


def _rank(source: Any, index: int) -> bytes:
    """The hash of a recording: of its file's name, since tonic's order is that of the disk."""
    files = getattr(source, "data", None)
    name = "/".join(Path(files[index]).parts[-2:]) if files else str(index)
    return hashlib.sha256(f"tonic {name}".encode()).digest()
