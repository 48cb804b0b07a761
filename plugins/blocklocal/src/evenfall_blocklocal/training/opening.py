"""The data of a recipe: images by name, text, or a data set that a plugin registers."""

from __future__ import annotations

from pathlib import Path

import torch

from evenfall import registry
from evenfall.checks import check_choice
from evenfall.errors import shorten

from .arrays import ArraySource
from .data import DATA, ImageSource, open_images
from .recipe import TEXT, Recipe
from .source import Source
from .text import TextSource


def open_source(recipe: Recipe, data: str | Path) -> Source:
    """The samples of a recipe, on the GPU if there is one.

    Args:
        recipe: of the run.
        data: the folder of data sets, or the data set itself.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: no such data set, damaged data, or a setting that only other data reads.
    """
    source = _open(recipe, Path(data))
    source.limit(recipe.train_samples, recipe.test_samples)
    source.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return source


def _open(recipe: Recipe, data: Path) -> Source:
    if recipe.data in DATA:
        _refuse(recipe, "data_options", "folder", "folds", "train_split", "test_split", "window")
        return ImageSource(open_images(recipe.data, data))
    if recipe.folder is not None and (data / recipe.folder).exists():
        data = data / recipe.folder
    splits = recipe.train_split, recipe.test_split
    if recipe.data == TEXT:
        _refuse(recipe, "data_options", "folds")
        return TextSource(data, splits, recipe.window)
    check_choice("data", recipe.data, sorted({*DATA, TEXT, *registry.datasets}))
    _refuse(recipe, "window")
    return ArraySource(recipe.data, data, splits, recipe.folds, recipe.seed, **recipe.data_options)


def _refuse(recipe: Recipe, *names: str) -> None:
    """Refuse settings that this data does not read."""
    for name in names:
        value = getattr(recipe, name)
        if value != getattr(Recipe(), name):
            raise ValueError(
                f"{name} has no effect on data {shorten(recipe.data)}, got {shorten(value)}"
            )
