"""A folder of event recordings or WAV files, one folder for each class."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch_geometric.data import Data, Dataset

from evenfall.checks import check_integer

from ...transforms.events import check_sensor_size
from ..readers import Recording
from ..readers.recording_files import SOUND, SUFFIXES
from .class_files import ClassFile, list_files, select_split
from .reading import Reading
from .windows import Window, check_window, cut_windows

logger = logging.getLogger(__name__)

_KEPT_EVENTS = 2**26
"""Events that stay in memory, about 0.9 GB; further recordings are read again on each access."""
_LARGEST_SIDE = 2**16
_MANY_EVENTS = 1_000_000
"""One token per event: more in one example need much time and memory."""


class RecordingFolder(Dataset):
    """Recordings as Data(x=(N, 1) polarity, pos=(N, 1 + k) time in ms and pixel, y=(1,) class).

    Args:
        path: DATA/CLASS/FILE, DATA/CLASS/GROUP/FILE, DATA/SPLIT/CLASS/FILE or DATA/CLASS/SPLIT/FILE
            with SPLIT train, valid or test. The name of a folder is the name of the class. A group,
            such as a subject or a day, is never divided between splits.
        split: train, valid, test or train+valid.
        sensor_size: (width, height) in pixels, or (channels,); None for the largest size that the
            files of all splits state, or else need.
        sound: keyword arguments of `evenfall_stream.datasets.sound.SoundToEvents`, for WAV files.
        most_pixels: divide a larger sensor by a whole number, so that no side has more pixels.
        window: cut every recording into windows of so many milliseconds, each an example. All
            windows of a recording are in its split.
        hop: milliseconds from the start of a window to the next; None for `window`.
        least_events: windows with fewer events are left out; whole recordings all stay.
        valid_share: of the recordings, if there are no folders of splits.
        test_share: the same for test.
        transform: applied to each item on access.

    Attributes:
        classes: names of the classes.
        sensor_size: after division by `most_pixels`.
        polarities: 2, or 1 for sound.
        found_options: sensor_size of the recordings, for the recipe that is saved.

    Raises:
        FileNotFoundError: no such folder, or no files of that split in it.
        ImportError: a format needs a package that is not installed.
        ValueError: an option is out of range, a class has too few files, a file cannot be read, or
            files are from different kinds of sensors.
    """

    def __init__(
        self, path: str | Path, split: str = "train", *,
        sensor_size: Sequence[int] | None = None, sound: dict[str, Any] | None = None,
        most_pixels: int | None = None, window: float | None = None, hop: float | None = None,
        least_events: int = 1, valid_share: float = 0.2, test_share: float = 0.2,
        transform: Callable[[Data], Data] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(None, transform)
        lengths = check_window(window, hop)
        check_integer("least_events", least_events, 0)
        if lengths is None and least_events != 1:
            raise ValueError(f"least_events needs a window, got {least_events} and no window")
        self.classes, files = list_files(Path(path), SUFFIXES)
        self._files = select_split(files, split, valid_share, test_share)
        sounds = {file.path.suffix.lower() in SOUND for file in files}
        if len(sounds) > 1:
            raise ValueError(f"{path} must have recordings of events or WAV files, got both")
        self.polarities = 1 if sounds == {True} else 2
        if sound and self.polarities == 2:
            raise ValueError(f"sound is for WAV files, but {path} has recordings of events")
        size = None if sensor_size is None else check_sensor_size(sensor_size)
        self._reading = Reading(size, dict(sound or {}), most_pixels)
        self._kept: OrderedDict[int, Recording] = OrderedDict()
        self._kept_events = 0
        if size is None:
            size = self._common_size(files)
        if max(size) > _LARGEST_SIDE:
            raise ValueError(f"sensor_size must be at most {_LARGEST_SIDE:,} pixels, got {size}")
        if size != self._reading.sensor_size:
            self._reading = Reading(size, self._reading.sound, most_pixels)
        self._size = size
        self.sensor_size = self._reading.reduced(size)
        self.found_options = {"sensor_size": list(size)}
        self._items = self._list_items(lengths, least_events)
        if not self._items:
            raise ValueError(f"{path}: no window of split {split!r} has {least_events} events")

    @property
    def num_classes(self) -> int:
        """Number of classes, also if a split lacks some."""
        return len(self.classes)

    @property
    def files(self) -> list[Path]:
        """The file of each item."""
        return [self._files[self._items[index][0]].path for index in self.indices()]

    def len(self) -> int:
        """Number of recordings, or of windows."""
        return len(self._items)

    def get(self, idx: int) -> Data:
        """The item before `transform`."""
        recording, label = self._item(idx)
        return recording.to_data(label)

    def recording(self, index: int) -> tuple[Recording, int]:
        """The raw recording, or its window, and the class of the item at `index`."""
        return self._item(self.indices()[index])

    def _item(self, number: int) -> tuple[Recording, int]:
        file, window = self._items[number]
        recording = self._read(file)
        recording = recording if window is None else window.of(recording)
        t, x, y, p = recording
        y = None if y is None else y.astype(np.int64)
        whole = Recording(t.astype(np.int64), x.astype(np.int64), y, p.astype(np.int64))
        return whole, self._files[file].label

    def _read(self, file: int) -> Recording:
        """The recording in small integers; kept as long as there is room."""
        if file in self._kept:
            return self._kept[file]
        recording, size = self._reading.read(self._files[file].path)
        t, x, y, p = self._reading.reduce(recording, size)
        small = Recording(
            t, x.astype(np.uint16), None if y is None else y.astype(np.uint16), p.astype(np.uint8)
        )
        if self._kept_events + len(t) <= _KEPT_EVENTS:
            self._kept[file] = small
            self._kept_events += len(t)
        return small

    def _common_size(self, files: Sequence[ClassFile]) -> tuple[int, ...]:
        """The smallest sensor on which the recordings of all splits fit."""
        sizes = {file.path: self._reading.read(file.path)[1] for file in files}
        first, size = next(iter(sizes.items()))
        for path, other in sizes.items():
            if len(other) != len(size):
                raise ValueError(f"{path} has a sensor of size {other}, but {first} of {size}")
            size = tuple(map(max, size, other))
        logger.info("sensor size %s", " x ".join(map(str, size)))
        return size

    def _list_items(
        self, lengths: tuple[int, int] | None, least_events: int
    ) -> list[tuple[int, Window | None]]:
        items: list[tuple[int, Window | None]] = []
        for number, file in enumerate(self._files):
            t = self._read(number).t
            if lengths is None:
                items.append((number, None))
                if len(t) > _MANY_EVENTS:
                    logger.warning(
                        "%s has %s events; dataset_options: {window: MILLISECONDS} cuts it",
                        file.path, f"{len(t):,}",
                    )  # fmt: skip
                continue
            try:
                windows = list(cut_windows(t, *lengths))
            except ValueError as error:
                raise ValueError(f"{file.path}: {error}") from None
            items += [(number, one) for one in windows if one.last - one.first >= least_events]
        return items
