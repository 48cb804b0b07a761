"""The registered trainer "egru-classifier": this module is an `evenfall.trainers.Trainer`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..evaluation.accuracy import evaluate_frames
from ..sequences.frames import read_frames
from .classification_recipe import ClassificationRecipe as Recipe
from .classification_recipe import load_classification_recipe as load_recipe
from .classification_run import train_classifier as train
from .trained import load_trained

__all__ = ["Recipe", "evaluate", "load_example", "load_recipe", "train"]

EXAMPLE_SEQUENCES = 32


def evaluate(folder: str | Path, data: str | Path, split: str) -> dict[str, Any]:
    """Accuracy, loss and activity on a whole split of the recipe's data set.

    Args:
        folder: a run's best/, or a packed folder.
        data: folder or file of the data set.
        split: "train", "valid" or "test".

    Raises:
        FileNotFoundError: the model or the data is not found.
        ValueError: the model cannot be read, or the data set has no such split.
    """
    model, recipe = load_trained(folder)
    return evaluate_frames(model, read_frames(recipe.dataset, data, split, recipe.dataset_options))


def load_example(
    folder: str | Path, data: str | Path, split: str
) -> tuple[torch.nn.Module, dict[str, Any]]:
    """The model, and the first sequences of a split as one batch.

    Args:
        folder, data, split: as `evaluate`.

    Raises:
        FileNotFoundError, ValueError: as `evaluate`.
    """
    model, recipe = load_trained(folder, "cpu")
    frames = read_frames(recipe.dataset, data, split, recipe.dataset_options)
    return model, {"inputs_embeds": frames.x[:EXAMPLE_SEQUENCES], "use_cache": False}
