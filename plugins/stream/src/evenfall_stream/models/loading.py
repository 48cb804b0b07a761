"""Load a trained model of any class from a folder or the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import torch

from evenfall.errors import shorten

from .classifier import StreamClassifier
from .event_classifier import EventStreamClassifier
from .hub import CONFIG, find_file, read_object
from .segmentation import StreamSegmenter

Classifier = StreamClassifier | EventStreamClassifier
Trained = Classifier | StreamSegmenter
Model = TypeVar("Model", bound=Trained)
MODELS: dict[str, type[Trained]] = {
    one.model_type: one for one in (StreamClassifier, EventStreamClassifier, StreamSegmenter)
}
"""Model type to class."""


def load_checkpoint(checkpoint: str | Path, device: str | torch.device | None = None) -> Classifier:
    """Load a classifier, in evaluation mode; arguments and errors are those of `load_trained`.

    Raises:
        ValueError: the checkpoint is a segmenter.
    """
    kind = _kind(checkpoint)
    if issubclass(kind, StreamSegmenter):
        raise ValueError(
            f"checkpoint {checkpoint} must be a classifier, "
            f"got {shorten(kind.model_type)}; load it with "
            "StreamSegmenter.from_pretrained"
        )
    return _load(kind, checkpoint, device)


def load_trained(checkpoint: str | Path, device: str | torch.device | None = None) -> Trained:
    """Load a classifier or a segmenter, in evaluation mode.

    Args:
        checkpoint: a folder with config.json and model.safetensors, such as a run's best/, or the
            name of a model on the Hub.
        device: where to load it; None for a GPU if there is one, else the CPU.

    Raises:
        FileNotFoundError: no such checkpoint, or config.json or the weights are missing.
        ValueError: the configuration is not of such a model, or the weights do not match it.
    """
    return _load(_kind(checkpoint), checkpoint, device)


def _kind(checkpoint: str | Path) -> type[Trained]:
    name = read_object(find_file(checkpoint, CONFIG), checkpoint).get("model_type")
    if name not in list(MODELS):
        raise ValueError(
            f"checkpoint {checkpoint}: model_type must be one of {list(MODELS)}, "
            f"got {shorten(name)}"
        )
    return MODELS[name]


def _load(kind: type[Model], checkpoint: str | Path, device: str | torch.device | None) -> Model:
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return kind.from_pretrained(checkpoint, map_location=device)
