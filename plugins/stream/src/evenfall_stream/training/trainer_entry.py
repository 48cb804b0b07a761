"""The trainer "stream": a module with the functions of an `evenfall.trainers.Trainer`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..models.loading import load_trained
from .evaluation import evaluate_recipe
from .loading import checkpoint_recipe
from .recipe import Recipe, load_recipe
from .run import train

__all__ = ["Recipe", "evaluate", "load_recipe", "train"]


def evaluate(folder: str | Path, data: str | Path, split: str) -> dict[str, Any]:
    """The scores of `training.evaluation.evaluate` on a split of the model's data set.

    Args:
        folder: a classifier with its recipe, such as a run's best/.
        data: folder or file of the data set.
        split: one of the data set's splits.

    Raises:
        FileNotFoundError: the model, the recipe or the data is missing.
        ValueError: no such split, or the model's classes differ from the data set's.
    """
    recipe = checkpoint_recipe(folder)
    options = {"batch_size": recipe.batch_size}
    return evaluate_recipe(load_trained(folder), recipe, data, split, **options)
