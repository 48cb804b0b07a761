"""How recordings are read: what training and `predict` must do alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

from evenfall.checks import check_integer

from ..readers import Recording
from ..readers.recording_files import open_recording, read_recording


@dataclass(frozen=True)
class Reading:
    """Options of reading, part of a recipe's dataset_options.

    Attributes:
        sensor_size: of the recordings in pixels, (width, height), or (channels,); None for the size
            that the file states, or else that its events need.
        sound: keyword arguments of SoundToEvents, for WAV files.
        most_pixels: a larger sensor is divided by the smallest whole number with which both sides
            have at most so many pixels; None keeps it.
    """

    sensor_size: tuple[int, ...] | None = None
    sound: Mapping[str, Any] = field(default_factory=dict)
    most_pixels: int | None = None

    def __post_init__(self) -> None:
        if self.most_pixels is not None:
            check_integer("most_pixels", self.most_pixels, 1)

    def read(self, path: str | Path) -> tuple[Recording, tuple[int, ...]]:
        """The events and the size of the sensor, before it is divided.

        Raises:
            FileNotFoundError, ImportError, ValueError: as `read_recording`.
        """
        if self.sensor_size is None:
            return open_recording(path, self.sound)
        return read_recording(path, self.sensor_size, self.sound), self.sensor_size

    def factor(self, size: tuple[int, ...]) -> int:
        """Pixels of the sensor to one of the model, along a side."""
        if self.most_pixels is None or len(size) < 2:
            return 1
        return ceil(max(size) / self.most_pixels)

    def reduced(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """The size of the sensor after division."""
        return tuple(ceil(side / self.factor(size)) for side in size)

    def reduce(self, recording: Recording, size: tuple[int, ...]) -> Recording:
        """The recording with divided coordinates."""
        factor = self.factor(size)
        if factor == 1 or recording.y is None:
            return recording
        return recording._replace(x=recording.x // factor, y=recording.y // factor)
