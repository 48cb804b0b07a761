"""The recipes that the plugin brings along."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from evenfall.recipes import read_recipe

T = TypeVar("T")


def bundled_recipes(task: str) -> dict[str, Path]:
    """Name to file.

    Args:
        task: "train" or "classify", the command that reads them.
    """
    folder = Path(str(files("evenfall_egru"))) / "recipes" / task
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def load_any(source: str | Path, kind: type[T], task: str) -> T:
    """Read a recipe from a file, or a bundled one by its name.

    Raises:
        FileNotFoundError: no such file and no such bundled recipe.
        ValueError: as read_recipe.
    """
    path, bundled = Path(source), bundled_recipes(task)
    if not path.is_file() and str(source).removesuffix(".yaml") in bundled:
        path = bundled[str(source).removesuffix(".yaml")]
    elif not path.exists():
        raise FileNotFoundError(
            f"recipe {source} not found; bundled recipes: {', '.join(sorted(bundled))}"
        )
    return read_recipe(path, kind)
