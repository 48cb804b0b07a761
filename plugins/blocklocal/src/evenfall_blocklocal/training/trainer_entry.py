"""The registered trainer "blocklocal": this module is an `evenfall.trainers.Trainer`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model

from evenfall.checks import check_choice
from evenfall.recipes import read_recipe

from ..saving import SETTINGS
from ..splitting import split_blocks
from .evaluation import measure
from .networks import make_network
from .opening import open_source
from .recipe import Recipe, load_recipe
from .run import train

__all__ = ["Recipe", "evaluate", "load_recipe", "train"]

RECIPE = "recipe.yaml"
_PARTS = ("train", "test")


def evaluate(folder: str | Path, data: str | Path, split: str) -> dict[str, Any]:
    """Accuracy, or the perplexity of text, on the training or test samples of a run.

    Args:
        folder: best/ of a run.
        data: folder of the data sets.
        split: "train" or "test".

    Raises:
        FileNotFoundError: there is no such model or data.
        ValueError: another split, or damaged files.
    """
    folder = Path(folder)
    check_choice("split", split, _PARTS)
    for name in (RECIPE, SETTINGS, "model.safetensors"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} has no {name}: it is not the best/ folder of a run")
    recipe = read_recipe(folder / RECIPE, Recipe)
    source = open_source(recipe, data)
    torch.manual_seed(recipe.seed)
    model = make_network(recipe.model, source, **recipe.model_options).to(source.device)
    if recipe.tied == "untie":
        split_blocks(model, 1, tied="untie", inputs=source.example())
    try:
        load_model(model, folder / "model.safetensors")
    except (RuntimeError, SafetensorError) as error:
        raise ValueError(f"{folder} does not fit its recipe: {error}") from error
    return {source.metric: measure(model, source, "test" if split == "test" else "train")}
