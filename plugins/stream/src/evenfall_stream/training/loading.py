"""The recipe that travels with a trained model."""

from __future__ import annotations

from pathlib import Path

from ..models.hub import find_file
from .recipe import Recipe, load_recipe


def checkpoint_recipe(checkpoint: str | Path) -> Recipe:
    """The recipe that a checkpoint was trained by, which states its data set.

    Args:
        checkpoint: a folder, or a model on the Hub.

    Raises:
        FileNotFoundError: the checkpoint has no recipe.yaml.
        ValueError: recipe.yaml is no recipe.
    """
    return load_recipe(find_file(checkpoint, "recipe.yaml"))
