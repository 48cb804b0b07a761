"""Classify files, whole or in windows of time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from ..datasets.folders.reading import Reading
from ..datasets.folders.windows import check_window, cut_windows
from ..datasets.readers.inputs import read_shape
from ..models.event_classifier import EventStreamClassifier
from ..models.loading import Classifier
from ..models.prediction import logits
from ..seeds import seeded
from ..transforms.pipeline import make_transforms
from .settings import Settings

_WINDOWS, _EVENTS = 64, 200_000
"""Most windows and events of one call of the model; a single window may have more events."""


class Part(NamedTuple):
    """A part of a file, with its classification.

    Attributes:
        start: of the window, milliseconds since the first event; None for a cloud.
        end: of the window, or of the recording.
        size: number of its events or points.
        probabilities: of the classes; None for a window without events.
    """

    start: float | None
    end: float | None
    size: int
    probabilities: list[float] | None


class FilePrediction(NamedTuple):
    """The classification of a file.

    Attributes:
        path: of the file.
        unit: "events" or "points".
        size: number of events or points.
        probabilities: of the classes; for windows, the mean over those with events.
        parts: the windows, or the file as one part.
        note: what is unusual about the file, such as no events; or "".
    """

    path: Path
    unit: str
    size: int
    probabilities: list[float]
    parts: list[Part]
    note: str


class FilePredictor:
    """Classifies files with a model.

    Args:
        model: a classifier in evaluation mode.
        settings: how files are read.

    Raises:
        ReferenceImportError: a transform of the preparation cannot be imported.
        ValueError: a setting is out of range, or the recordings' sensor is not the model's.
    """

    def __init__(self, model: Classifier, settings: Settings) -> None:
        self.model, self.settings = model, settings
        self.device = next(model.parameters()).device
        self.lengths = check_window(settings.window, settings.hop)
        self.events = isinstance(model, EventStreamClassifier)
        size = model.sensor_size if isinstance(model, EventStreamClassifier) else None
        self.prepare = make_transforms(settings.preparation, "preparation", size)
        if size is None:
            if self.lengths is not None:
                raise ValueError("window is for recordings; the model classifies clouds")
            return
        divided = settings.most_pixels if settings.sensor_size is not None else None
        self.reading = Reading(settings.sensor_size or size, settings.sound, divided)
        self.size = self.reading.sensor_size or size
        if self.reading.reduced(self.size) != tuple(size):
            raise ValueError(
                f"the model's sensor_size must be {self.reading.reduced(self.size)} for recordings "
                f"of {self.size} pixels, got {tuple(size)}"
            )

    def predict(self, path: Path) -> FilePrediction:
        """Classify one file.

        Raises:
            FileNotFoundError, ImportError, ValueError: as `read_recording` and `read_cloud`.
        """
        return self._events(path) if self.events else self._points(path)

    def _points(self, path: Path) -> FilePrediction:
        shape = read_shape(path)
        with seeded(0):
            scaled = self.settings.unit_sphere is not False
            data = self.prepare(shape.cloud(self.settings.points, scaled=scaled))
        (row,) = self._classify([data])
        count = len(shape.pos)
        note = _note(count, "points")
        return FilePrediction(path, "points", count, row, [Part(None, None, count, row)], note)

    def _events(self, path: Path) -> FilePrediction:
        recording, size = self.reading.read(path)
        recording = self.reading.reduce(recording, size)
        t, note = recording.t, _note(len(recording.t), "events")
        lengths = self.lengths
        windows = [] if lengths is None else list(cut_windows(t, *lengths))
        if lengths is None or not windows:
            (row,) = self._classify([self._prepared(recording.to_data())])
            end = float(t[-1] - t[0]) / 1000 if len(t) else 0.0
            parts = [Part(0.0, end, len(t), row)]
            return FilePrediction(path, "events", len(t), row, parts, note)
        full = [one for one in windows if one.last > one.first]
        rows = iter(self._classify(self._prepared(one.of(recording).to_data()) for one in full))
        parts = [
            Part(
                one.start, one.start + lengths[0] / 1000, one.last - one.first,
                next(rows) if one.last > one.first else None,
            )
            for one in windows
        ]  # fmt: skip
        scored = torch.tensor([one.probabilities for one in parts if one.probabilities])
        return FilePrediction(path, "events", len(t), scored.mean(0).tolist(), parts, note)

    def _prepared(self, data: Data) -> Data:
        with seeded(0):
            return self.prepare(data)

    def _classify(self, examples: Iterable[Data]) -> list[list[float]]:
        rows: list[list[float]] = []
        for batch in _batches(examples):
            with torch.no_grad():
                out: Tensor = logits(self.model, Batch.from_data_list(batch).to(self.device))
            rows += out.double().softmax(-1).tolist()
        return rows


def _batches(examples: Iterable[Data]) -> Iterator[list[Data]]:
    batch: list[Data] = []
    events = 0
    for data in examples:
        if batch and (len(batch) == _WINDOWS or events + len(data.pos) > _EVENTS):
            yield batch
            batch, events = [], 0
        batch.append(data)
        events += len(data.pos)
    if batch:
        yield batch


def _note(count: int, unit: str) -> str:
    """What a user should know about a file with so few points that it cannot be classified."""
    if count > 1:
        return ""
    one = unit.removesuffix("s")
    return f"the file has {f'one {one}' if count else f'no {unit}'}: its class means nothing"
