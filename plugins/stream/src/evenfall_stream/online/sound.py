"""SoundStream: classifies a sound, such as a spoken digit, while its samples arrive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..datasets.sound import SoundToEvents
from ..models.event_classifier import EventStreamClassifier
from .classifier import OnlineClassifier


class SoundStream:
    """Samples to events to classes, piece by piece, with constant memory.

    After any number of pieces the result is that of the model for all events so far.

    Args:
        model: in evaluation mode, trained on events of `SoundToEvents` with `sound`.
        sampling_rate: samples per second.
        sound: keyword arguments of SoundToEvents, such as a recipe's `dataset_options["sound"]`.

    Raises:
        TypeError: model is not an EventStreamClassifier.
        ValueError: the model's sensor is not the bands of the sound, or an option is out of range.

    Example::

        stream = SoundStream(model.eval(), 8000)
        for samples in microphone:  # (n,) between -1 and 1
            stream.push(samples)
            digit = stream.probabilities().argmax()
    """

    def __init__(
        self,
        model: EventStreamClassifier,
        sampling_rate: int,
        sound: Mapping[str, Any] | None = None,
    ) -> None:
        self.classifier = OnlineClassifier(model)
        self.sampling_rate = sampling_rate
        self._to_events = SoundToEvents(sampling_rate, **dict(sound or {}))
        bands = (self._to_events.channels,)
        if model.sensor_size != bands or model.polarities != 1:
            raise ValueError(
                f"model must have sensor_size {bands} and 1 polarity, "
                f"got {model.sensor_size} and {model.polarities}"
            )

    def reset(self) -> None:
        """Forget all samples."""
        self._to_events.reset()
        self.classifier.reset()

    def push(self, samples: NDArray[np.float64]) -> int:
        """Add the next (n,) samples, full scale 1; return the number of their events.

        Raises:
            ValueError: samples are not finite or not of shape (n,). The stream does not change.
        """
        time, channel = self._to_events.push(samples)
        pos = torch.from_numpy(np.stack([time / 1000, channel], 1))  # milliseconds, band
        self.classifier.push(torch.zeros(len(time), 1), pos)
        return len(time)

    def probabilities(self) -> Tensor:
        """(classes,) for all samples so far, float64."""
        return self.classifier.logits()[0].double().softmax(0)


def follow_sound(
    model: EventStreamClassifier,
    sampling_rate: int,
    samples: NDArray[np.float64],
    sound: Mapping[str, Any] | None = None,
    every: float = 0.05,
) -> Iterator[tuple[float, Tensor]]:
    """The probabilities while a sound is heard.

    Args:
        model: as in `SoundStream`.
        sampling_rate: samples per second.
        samples: (n,) between -1 and 1.
        sound: as in `SoundStream`.
        every: seconds between results, at least one sample.

    Yields:
        The time in seconds, and the (classes,) probabilities for the sound until then.

    Raises:
        ValueError: every is shorter than a sample, or as SoundStream.
    """
    piece = round(every * sampling_rate)
    if piece < 1:
        raise ValueError(f"every must be at least a sample, 1/{sampling_rate} s, got {every}")
    stream = SoundStream(model, sampling_rate, sound)
    for start in range(0, len(samples), piece):
        stream.push(samples[start : start + piece])
        yield min(start + piece, len(samples)) / sampling_rate, stream.probabilities()
