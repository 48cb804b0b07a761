"""tonic's data sets as torch_geometric data sets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch_geometric.data import Data, Dataset

from evenfall.errors import shorten

from ..extras import require
from .readers import Recording, check_recording

_VALID_SHARE = 10
"""One in this many training recordings is in `valid` if the data set has no such split."""


class TonicEvents(Dataset):
    """The result of `from_tonic`: Data(x=(N, 1) polarity, pos=(N, 1 + k), y=(1,) class)."""

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
            raise ValueError(
                f"sensor_size must be passed, because {type(source).__name__} does not define it"
            )
        self.source, self.sort = source, sort
        # tonic's sensor_size is (width, height, polarities), with height 1 for channels; events of
        # a single polarity have p = 1.
        self.polarities = int(size[2]) if len(size) > 2 else 2
        self.sensor_size = tuple(int(extent) for extent in size[:2])
        if len(self.sensor_size) == 2 and self.sensor_size[1] == 1:
            self.sensor_size = self.sensor_size[:1]

    @property
    def classes(self) -> list[str]:
        """The names of the classes; empty if the data set has none."""
        names = getattr(self.source, "classes", [])
        return [name.decode() if isinstance(name, bytes) else str(name) for name in names]

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes) or super().num_classes

    def len(self) -> int:
        """Number of recordings."""
        return len(self.source)

    def get(self, idx: int) -> Data:
        """The recording before `transform`."""
        recording, label = self._read(idx)
        return recording.to_data(label)

    def recording(self, index: int) -> tuple[Recording, int]:
        """The raw recording and the class of the item at `index`."""
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
        fields = ["t", "x", *(["y"] if len(self.sensor_size) == 2 else []), "p"]
        if any(name not in names for name in fields):
            raise ValueError(f"events must have the fields {fields}, got {list(names)}")
        if self.sort:
            events = events[events["t"].argsort(kind="stable")]
        t, x, p = (events[name] for name in ("t", "x", "p"))
        y: np.ndarray | None = events["y"].astype(np.int64) if "y" in fields else None
        p = p.astype(np.int64) if self.polarities > 1 else np.zeros(len(p), np.int64)
        return Recording(t.astype(np.int64), x.astype(np.int64), y, p)


def from_tonic(
    dataset: Any,
    transform: Callable[[Data], Data] | None = None,
    *,
    sensor_size: Sequence[int] | None = None,
    sort: bool = False,
) -> TonicEvents:
    """Convert a tonic data set, which must not have a transform, for torch_geometric's DataLoader.

    Example: ``from_tonic(tonic.datasets.DVSGesture("data", train=True))``. Items are
    Data(x=(N, 1), pos=(N, 1 + k), y=(1,)). pos is time in milliseconds since the first event, then
    x and y in pixels, or the channel if the sensor has height 1 (SHD, SSC). x is the polarity, 0 if
    the sensor has only one.

    Args:
        dataset: from tonic or any other source. Its items are (events, class); events is a
            structured array with the fields t in microseconds, x, y if the sensor has rows, and p,
            0 or 1.
        transform: applied to each item on access.
        sensor_size: (width, height, polarities), or its first entries; None for
            dataset.sensor_size.
        sort: whether to sort the events by time, for data sets that are not sorted.

    Raises:
        ValueError: there is no sensor_size; on access: a field is missing, times decrease, or an
            event is outside the sensor.
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
    """A split of a data set, which tonic downloads to `path` if it is missing.

    Args:
        path: folder for the data.
        name: class of tonic.datasets, such as DVSGesture, SHD, SSC or NMNIST.
        split: train, valid, test or train+valid. SSC has its own `valid`, and no train+valid here;
            for the others, `valid` is a fixed tenth of the training recordings, those with the
            lowest hash of their file name, or of their number if they share a file.
        transform: applied to each item on access.
        sort: see `from_tonic`.

    Raises:
        ImportError: tonic is not installed.
        ValueError: tonic has no such data set, or the split is unknown.
    """
    splits = ("train", "valid", "test") + (() if name == "SSC" else ("train+valid",))
    if split not in splits:
        raise ValueError(
            f"split of {name} must be one of {', '.join(splits)}, got {shorten(split)}"
        )
    require("tonic", name)
    import tonic.datasets

    make = getattr(tonic.datasets, name, None)
    if make is None:
        raise ValueError(f"name must be a class of tonic.datasets, got {shorten(name)}")
    if name == "SSC":
        return from_tonic(make(str(path), split=split), transform, sort=sort)
    whole = from_tonic(make(str(path), train=split != "test"), transform, sort=sort)
    if split in ("test", "train+valid"):
        return whole
    ranked = sorted(range(len(whole)), key=lambda index: _rank(whole.source, index))
    valid = round(len(ranked) / _VALID_SHARE)
    return whole[sorted(ranked[:valid] if split == "valid" else ranked[valid:])]


def _rank(source: Any, index: int) -> bytes:
    """The hash of a recording's file name, because tonic's order depends on the file system."""
    files = getattr(source, "data", None)
    name = "/".join(Path(files[index]).parts[-2:]) if files else str(index)
    return hashlib.sha256(f"tonic {name}".encode()).digest()
