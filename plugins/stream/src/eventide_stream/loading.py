"""A trained model from a folder or from the Hugging Face hub, whichever class it is of."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from .classifier import StreamClassifier
from .event_classifier import EventStreamClassifier
from .hub import CONFIG, find_file
from .training import Recipe, load_recipe

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
    kinds = {kind.model_type: kind for kind in (StreamClassifier, EventStreamClassifier)}
    try:
        config = json.loads(find_file(checkpoint, CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"checkpoint {checkpoint}: {CONFIG} cannot be read: {error}") from error
    name = config.get("model_type") if isinstance(config, dict) else None
    if name not in kinds:
        raise ValueError(
            f"checkpoint {checkpoint}: model_type must be one of {list(kinds)}, got {name!r}"
        )
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return kinds[name].from_pretrained(checkpoint, map_location=device)


def checkpoint_recipe(checkpoint: str | Path) -> Recipe:
    """The recipe that a checkpoint was trained by, which states its data set.

    Raises:
        FileNotFoundError: the checkpoint has no recipe.yaml.
        ValueError: recipe.yaml is no recipe.
    """
    return load_recipe(find_file(checkpoint, "recipe.yaml"))
