"""A trained classifier of frames and its recipe, from the best/ folder of a run."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from evenfall.reading import reading
from evenfall.recipes import read_recipe

from ..loading import find_device, load_classifier
from .baseline import RecurrentClassifier
from .classification_recipe import ClassificationRecipe

RECIPE = "recipe.yaml"


def load_trained(
    folder: str | Path, device: str | None = None
) -> tuple[torch.nn.Module, ClassificationRecipe]:
    """The model in evaluation mode, an EgruForSequenceClassification or a baseline.

    Args:
        folder: best/ of a run, or a packed folder.
        device: such as "cpu" or "cuda:0"; None means "cuda" if available, else "cpu".

    Raises:
        FileNotFoundError: the folder has no recipe.yaml or no weights.
        ValueError: a file is damaged, or the weights do not fit the recipe.
    """
    folder = Path(folder)
    for name in (RECIPE, "model.safetensors"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} has no {name}: it must be best/ of a classifier")
    recipe = read_recipe(folder / RECIPE, ClassificationRecipe)
    if recipe.cell == "egru":
        return load_classifier(folder, device), recipe
    return _load_baseline(folder, recipe).to(find_device(device)).eval(), recipe


def _load_baseline(folder: Path, recipe: ClassificationRecipe) -> RecurrentClassifier:
    """The GRU or LSTM, whose widths are those of its weights."""
    file = folder / "model.safetensors"
    with reading(file, "the weights"):
        state = load_file(file)
    try:
        features, labels = state["layers.0.weight_ih_l0"].shape[1], len(state["score.weight"])
        model = RecurrentClassifier(recipe.cell, recipe.config(features, labels))
        model.load_state_dict(state)
    except (KeyError, IndexError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{file} does not fit the recipe of its folder: {reason}") from error
    return model
