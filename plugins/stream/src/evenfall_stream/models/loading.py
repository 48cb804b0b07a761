"""A trained model from a folder or from the Hugging Face hub, whichever class it is of."""

from __future__ import annotations

from pathlib import Path

import torch

from ..training import Recipe, load_recipe
from .classifier import StreamClassifier
from .event_classifier import EventStreamClassifier
from .hub import CONFIG, MODELS, find_file, model_class, read_object

Classifier = StreamClassifier | EventStreamClassifier


def load_checkpoint(checkpoint: str | Path, device: str | torch.device | None = None) -> Classifier:
    """The classifier that a folder holds, in evaluation mode.

    Args:
        checkpoint: a folder with config.json and model.safetensors, such as a run's best/, or the
            name of a model on the hub.
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
    kind = model_class(name)
    if not issubclass(kind, Classifier):
        raise ValueError(
            f"checkpoint {checkpoint} is a {name!r}, want a classifier; load it with "
            f"{kind.__name__}.from_pretrained"
        )
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return kind.from_pretrained(checkpoint, map_location=device)


def checkpoint_recipe(checkpoint: str | Path) -> Recipe:
    """The recipe that a checkpoint was trained by, which states its data set.

    Raises:
        FileNotFoundError: the checkpoint has no recipe.yaml.
        ValueError: recipe.yaml is no recipe.
    """
    return load_recipe(find_file(checkpoint, "recipe.yaml"))
