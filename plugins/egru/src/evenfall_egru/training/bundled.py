"""The recipes that the plugin brings along."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from evenfall.recipes import bundled_files, find_file, read_recipe

T = TypeVar("T")


def bundled_recipes(task: str) -> dict[str, Path]:
    """Name to file.

    Args:
        task: "train" or "classify", the command that reads them.
    """
    return bundled_files("evenfall_egru", "recipes", task)


def load_any(source: str | Path, kind: type[T], task: str) -> T:
    """Read a recipe from a file, or a bundled one by its name.

    Raises:
        FileNotFoundError: no such file and no such bundled recipe.
        ValueError: as read_recipe.
    """
    return read_recipe(find_file(source, bundled_recipes(task)), kind)
