"""A trained model from a folder or from the Hugging Face Hub, whichever class it is of."""

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
    """The classifier that a folder holds, in evaluation mode.

    Args:
        checkpoint: a folder with config.json and model.safetensors, such as a run's best/, or the
            name of a model on the Hub.
        device: a GPU where there is one, when None.

    Raises:
        FileNotFoundError: no such checkpoint, or one without config.json or weights.
        ValueError: a configuration of no classifier, or weights that do not fit it.
    """
    name = read_object(find_file(checkpoint, CONFIG), checkpoint).get("model_type")
    if name not in list(MODELS):
        raise ValueError(
            f"checkpoint {checkpoint}: model_type must be one of {list(MODELS)}, got {name!r}"
        )
    kind = MODELS[name]
    if not issubclass(kind, Classifier):
        raise ValueError(
            f"checkpoint {checkpoint} is a {name!r}, want a classifier; load it with "
            f"{kind.__name__}.from_pretrained"
        )
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return kind.from_pretrained(checkpoint, map_location=device)
