"""The recipe of a trained model."""

from __future__ import annotations

from pathlib import Path

from ..models.hub import find_file
from .recipe import Recipe, load_recipe


def checkpoint_recipe(checkpoint: str | Path) -> Recipe:
    """The recipe with which a checkpoint was trained.

    Args:
        checkpoint: a folder, or a model on the Hub.

    Raises:
        FileNotFoundError: the checkpoint has no recipe.yaml.
        ValueError: recipe.yaml is not a recipe.
    """
    return load_recipe(find_file(checkpoint, "recipe.yaml"))
