"""Load a trained model of any class from a folder or the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

import torch

from .classifier import StreamClassifier
from .event_classifier import EventStreamClassifier
from .hub import CONFIG, StreamHubMixin, find_file, read_object
from .segmentation import StreamSegmenter

Classifier = StreamClassifier | EventStreamClassifier
MODELS: dict[str, type[StreamHubMixin]] = {
    one.model_type: one for one in (StreamClassifier, EventStreamClassifier, StreamSegmenter)
}
"""Model type to class."""


def load_checkpoint(checkpoint: str | Path, device: str | torch.device | None = None) -> Classifier:
    """Load a classifier, in evaluation mode.

    Args:
        checkpoint: a folder with config.json and model.safetensors, such as a run's best/, or the
            name of a model on the Hub.
        device: where to load it; None for a GPU if there is one, else the CPU.

    Raises:
        FileNotFoundError: no such checkpoint, or config.json or the weights are missing.
        ValueError: the configuration is not a classifier's, or the weights do not match it.
    """
    name = read_object(find_file(checkpoint, CONFIG), checkpoint).get("model_type")
    if name not in list(MODELS):
        raise ValueError(
            f"checkpoint {checkpoint}: model_type must be one of {list(MODELS)}, got {name!r}"
        )
    kind = MODELS[name]
    if not issubclass(kind, Classifier):
        raise ValueError(
            f"checkpoint {checkpoint} must be a classifier, got {name!r}; load it with "
            f"{kind.__name__}.from_pretrained"
        )
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return kind.from_pretrained(checkpoint, map_location=device)
