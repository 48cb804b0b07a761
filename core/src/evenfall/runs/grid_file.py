"""The YAML file of a grid of runs: a base recipe, changes, and seeds.

    recipe: base.yaml                # beside this file, or a name that the trainer knows
    seeds: [0, 1, 2]                 # absent: the recipe's own
    values:                          # every combination is a cell
      learning_rate: [1e-3, 2e-3]
      model_options.width: [32, 64]  # a dot reaches into a mapping
    cells:                           # by name; combined with `values` if both are given
      plain: {}
      noisy: {augmentation: [{RandomShift: {most: 0.1}}]}
    splits: [valid]                  # the best model of each run is evaluated on these
    metrics: [accuracy]              # columns of the table; absent: every number

Only `recipe` is required.
"""

from __future__ import annotations

import copy
import re
from dataclasses import asdict, dataclass, field
from itertools import combinations, product
from pathlib import Path
from typing import Any

from evenfall.errors import shorten
from evenfall.files import check_finite
from evenfall.recipes import make_recipe, read_recipe


@dataclass(frozen=True)
class GridFile:
    """The keys of the file; see above."""

    recipe: str = ""
    seeds: list[int] = field(default_factory=list)
    values: dict[str, list[Any]] = field(default_factory=dict)
    cells: dict[str, dict[str, Any]] = field(default_factory=dict)
    splits: list[str] = field(default_factory=lambda: ["valid"])
    metrics: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not isinstance(self.recipe, str) or not self.recipe:
            raise ValueError(f"recipe must be a file or a name, got {shorten(self.recipe)}")
        for name, one in (("seeds", int), ("splits", str), ("metrics", str)):
            items = getattr(self, name)
            if not isinstance(items, list) or not all(type(item) is one for item in items):
                raise ValueError(f"{name} must be a list of {one.__name__}s, got {shorten(items)}")
            if len({*items}) < len(items):
                raise ValueError(f"{name} must be a list without repetition, got {shorten(items)}")
        if not self.splits:
            raise ValueError("splits must name at least one split, got []")
        for name, kind in (("values", list), ("cells", dict)):
            items = getattr(self, name)
            if not isinstance(items, dict) or not all(isinstance(v, kind) for v in items.values()):
                raise ValueError(f"{name} must map names to {kind.__name__}s, got {shorten(items)}")
        for changes in (self.values, *self.cells.values()):
            keys = [key for key in changes if not isinstance(key, str)]
            if keys:
                raise ValueError(f"keys of a recipe must be words, got {keys}")
        empty = [name for name, choices in self.values.items() if not choices]
        if empty:
            raise ValueError(f"values: {empty} must have at least one value each")


@dataclass(frozen=True)
class Cell:
    """One cell: its name, its folder's name, and what it changes in the recipe."""

    name: str
    folder: str
    changes: dict[str, Any]


def read_grid(path: str | Path) -> GridFile:
    """Read a grid file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not YAML, an unknown key, a value of the wrong form, or a number that grid.json
            cannot hold, such as .inf.
    """
    grid = read_recipe(path, GridFile, "grid")
    check_finite(asdict(grid), f"grid {path}")
    return grid


def list_cells(grid: GridFile) -> list[Cell]:
    """Every named cell combined with every combination of values.

    Raises:
        ValueError: two cells would share a folder, or a key of the recipe is set twice.
    """
    cells = []
    for name, changes in (grid.cells or {"": {}}).items():
        _check_keys(f"cell {name}: " if grid.cells else "", changes, grid)
        for combination in product(*grid.values.values()):
            values = dict(zip(grid.values, combination, strict=True))
            parts = [str(name)] if name != "" else []
            parts += [f"{key}={value}" for key, value in values.items()]
            label = ", ".join(parts) or "recipe"
            folder = re.sub(r"[^\w.=+-]+", "_", label)
            if not folder.strip("."):  # "..": the runs would be outside of the grid's folder
                raise ValueError(f"cell {label!r} needs a name with letters or digits")
            cells.append(Cell(label, folder, {**changes, **values}))
    folders = [cell.folder for cell in cells]
    double = sorted({folder for folder in folders if folders.count(folder) > 1})
    if double:
        raise ValueError(f"cells would share the folders {double}; rename some of them")
    return cells


def _check_keys(where: str, changes: dict[str, Any], grid: GridFile) -> None:
    """Refuse keys that set the same value of the recipe; only one of them would have an effect."""
    keys = [*changes, *grid.values, *(["seed"] if grid.seeds else [])]
    for first, second in combinations(keys, 2):
        if f"{first}.".startswith(f"{second}.") or f"{second}.".startswith(f"{first}."):
            both = repr(first) if first == second else f"{first!r} and {second!r}"
            raise ValueError(
                f"{where}{both} would be set twice, by its cell, `values` or `seeds`; set it once"
            )


def cell_recipe(base: Any, cell: Cell, seed: int | None) -> Any:
    """The base recipe with the changes of the cell and the seed.

    Raises:
        ValueError: the recipe has no such key, or refuses a value.
    """
    values = copy.deepcopy(asdict(base))
    for key, value in cell.changes.items():
        inner, (*path, last) = values, key.split(".")
        for name in path:
            inner = inner.setdefault(name, {})
            if not isinstance(inner, dict):
                raise ValueError(f"cell {cell.name}: {key!r}: {name!r} is not a mapping")
        inner[last] = value
    if seed is not None:
        values["seed"] = seed
    return make_recipe(values, type(base), f"cell {cell.name}")
