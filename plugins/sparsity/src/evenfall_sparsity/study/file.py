"""The YAML file of a study: dense models, and lines of pruned models that branch from them.

    trainer: egru                     # a name of `evenfall trainers`
    recipe: base.yaml                 # beside this file, or a name that the trainer knows
    models:                           # by name, what a dense model changes in the recipe
      lstm: {changes: {model.type: lstm}}
      egru:
        checkpoints: {1: egru-ptb-small}   # seed -> a trained model, instead of training
      quiet:
        after: egru                   # begins with the trained model egru of the same seed
        changes: {model.activity_regularization: 0.3, epochs: 2}
    level_changes: {epochs: 1, schedule: constant}   # what each level changes in the recipe
    levels: [0.5, 0.8]                # shares of weights to remove, one after the other
    methods:                          # by name, the callbacks that prune; "{level}" is the share
      dense: []                       # no pruning: the same epochs, for comparison
      single: [{gradual-pruning: {amount: "{level}"}}]
    lines:                            # each passes through all levels
      - {model: lstm, method: single, seeds: [1, 2]}
    baseline: lstm                    # whose dense form speeds are compared with
    splits: [valid, test]

A key of `changes` with a dot reaches into a mapping. A level begins with the best model of the one
before it; the recipe's field `initial_checkpoint` gets its folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evenfall.checks import check_type
from evenfall.errors import shorten
from evenfall.recipes import bundled_files, find_file, make_recipe, read_recipe

PLACEHOLDER = "{level}"
START = "start"
"""The folder of a dense model."""
_NAME = re.compile(r"[\w+-][\w.+-]*")


@dataclass(frozen=True)
class DenseModel:
    """A model before pruning.

    Attributes:
        changes: keys of the recipe -> values.
        checkpoints: seed -> folder or registered checkpoint that replaces the training.
        after: the model whose best one this model begins with.
    """

    changes: dict[str, Any] = field(default_factory=dict)
    checkpoints: dict[int, str] = field(default_factory=dict)
    after: str | None = None

    def __post_init__(self) -> None:
        _check_mapping("changes", self.changes, str)
        _check_mapping("checkpoints", self.checkpoints, int)
        if self.checkpoints and self.after is not None:
            raise ValueError(
                f"a model must have `checkpoints` or `after`, got both, after {shorten(self.after)}"
            )


@dataclass(frozen=True)
class Line:
    """A model that is pruned by a method, with each seed."""

    model: str
    method: str
    seeds: list[int] = field(default_factory=lambda: [0])

    def __post_init__(self) -> None:
        if not isinstance(self.seeds, list) or not self.seeds or not _are(self.seeds, int):
            raise ValueError(f"seeds must be a list of integers, got {shorten(self.seeds)}")


@dataclass(frozen=True)
class StudyFile:
    """The keys of the file; see above. `models` and `lines` are read into DenseModel and Line."""

    trainer: str
    recipe: str
    models: dict[str, Any]
    methods: dict[str, Any]
    levels: list[float]
    lines: list[Any]
    level_changes: dict[str, Any] = field(default_factory=dict)
    splits: list[str] = field(default_factory=lambda: ["valid", "test"])
    baseline: str | None = None

    def __post_init__(self) -> None:
        for name in ("trainer", "recipe"):
            check_type(name, getattr(self, name), str)
        for name in ("models", "methods", "level_changes"):
            _check_mapping(name, getattr(self, name), str)
        for name in (*self.models, *self.methods):
            if not _NAME.fullmatch(name):
                raise ValueError(f"{shorten(name)} cannot be the name of a folder")
        if START in self.methods:
            raise ValueError(f"methods: {START!r} is the name of the dense model's folder")
        for name in ("levels", "lines", "splits"):
            if not isinstance(getattr(self, name), list) or not getattr(self, name):
                raise ValueError(
                    f"{name} must be a non-empty list, got {shorten(getattr(self, name))}"
                )
        self._check_levels()
        models = {
            name: _make(f"model {name}", {} if value is None else value, DenseModel)
            for name, value in self.models.items()
        }
        object.__setattr__(self, "models", models)
        object.__setattr__(self, "lines", [_make("line", line, Line) for line in self.lines])
        self._check_names()

    def _check_levels(self) -> None:
        if not _are(self.levels, (int, float)) or not all(0 <= level < 1 for level in self.levels):
            raise ValueError(f"levels must be numbers in [0, 1), got {shorten(self.levels)}")
        if self.levels != sorted({*self.levels}):
            raise ValueError(f"levels must rise, got {shorten(self.levels)}")
        if not _are(self.splits, str) or self.splits[0] == "test":
            raise ValueError(
                f"splits must be names, the first not 'test', got {shorten(self.splits)}"
            )

    def _check_names(self) -> None:
        for name, model in self.models.items():
            seen = [name]
            while model.after is not None:
                if model.after in seen:
                    raise ValueError(f"model {name}: `after` leads back to {shorten(model.after)}")
                seen.append(model.after)
                model = _known("model", model.after, self.models)
        for line in self.lines:
            _known("model", line.model, self.models)
            _known("method", line.method, self.methods)
        if self.baseline is not None:
            _known("baseline", self.baseline, {line.model: line for line in self.lines})
        ways = [(line.model, line.method, seed) for line in self.lines for seed in line.seeds]
        for way in ways:
            if ways.count(way) > 1:
                raise ValueError(f"lines: {', '.join(map(str, way))} appears twice")


def read_study(path: str | Path) -> StudyFile:
    """Read the file of a study.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not YAML, a missing or unknown key, or a value of the wrong form.
    """
    return read_recipe(path, StudyFile, "study")


def find_study(name: str | Path) -> Path:
    """The path of a study: a file, or one of the bundled ones by name, such as "ptb".

    Raises:
        FileNotFoundError: neither; the message lists the bundled ones.
    """
    bundled = bundled_files("evenfall_sparsity", "study", "grids")
    return find_file(name, bundled, "study", "studies")


def fill_level(value: Any, level: float) -> Any:
    """A copy in which the level replaces each "{level}"."""
    if isinstance(value, Mapping):
        return {key: fill_level(one, level) for key, one in value.items()}
    if isinstance(value, list):
        return [fill_level(one, level) for one in value]
    return level if value == PLACEHOLDER else value


def _known(what: str, name: str, names: Mapping[str, Any]) -> Any:
    if name not in names:
        raise ValueError(f"{what} {shorten(name)} is not among {[*names]}")
    return names[name]


def _are(values: list[Any], kind: Any) -> bool:
    return all(isinstance(value, kind) and not isinstance(value, bool) for value in values)


def _make(name: str, value: Any, kind: type[Any]) -> Any:
    check_type(name, value, dict)
    return make_recipe(value, kind, name)


def _check_mapping(name: str, value: Any, kind: type) -> None:
    if not isinstance(value, dict) or not _are([*value], kind):
        what = "names" if kind is str else "integers"
        raise ValueError(f"{name} must map {what} to values, got {shorten(value)}")
