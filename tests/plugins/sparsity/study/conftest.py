"""A trainer without a framework, registered as "toy"."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from evenfall.recipes import read_recipe
from evenfall_sparsity.study import run


@dataclass(frozen=True)
class Recipe:
    epochs: float = 2
    width: int = 8
    seed: int = 0
    initial_checkpoint: str | None = None
    callbacks: list[Any] = field(default_factory=list)


class Toy:
    """Its error starts at 100 / width + seed, and falls by 10 % with each run that follows
    another; each percent that a callback removes adds 0.2."""

    Recipe = Recipe

    def __init__(self) -> None:
        self.trained: list[str] = []
        self.broken: set[str] = set()

    def load_recipe(self, source: str | Path) -> Recipe:
        return read_recipe(source, Recipe)

    def train(
        self, recipe: Recipe, data: Path, output: Path, *, resume: bool, progress: Any
    ) -> Path:
        assert resume
        name = "/".join(output.parts[-4 if output.name != "start" else -3 :])
        if any(one in name for one in self.broken):
            raise FloatingPointError("loss is nan")
        self.trained.append(name)
        error = 100 / recipe.width + recipe.seed
        if recipe.initial_checkpoint is not None:
            error = 0.9 * self._read(Path(recipe.initial_checkpoint))["base"]
        removed = sum(options["amount"] for entry in recipe.callbacks for options in entry.values())
        best = output / "best"
        best.mkdir(parents=True)
        record = {"base": error, "error": error + 20 * removed, "removed": removed}
        (best / "model.safetensors").write_text(json.dumps(record))
        if progress is not None:
            progress("epoch 1", 1, 1)
        return best

    def evaluate(self, folder: Path, data: Path, split: str) -> dict[str, Any]:
        return {"error": self._read(folder)["error"] + (split == "test")}

    @staticmethod
    def _read(folder: Path) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((folder / "model.safetensors").read_text())
        return content


STUDY = """
trainer: toy
recipe: base.yaml
models:
  wide: {changes: {width: 20}}
  late: {after: wide, changes: {epochs: 3}}
level_changes: {epochs: 1}
levels: [0.5, 0.9]
methods:
  none: []
  single: [{cut: {amount: "{level}", block: [1, 1]}}]
lines:
  - {model: wide, method: none, seeds: [1]}
  - {model: wide, method: single, seeds: [1, 2]}
  - {model: late, method: single, seeds: [1]}
"""


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Toy:
    trainer = Toy()
    about = {"metric": "error", "greater_is_better": False}
    monkeypatch.setattr(run, "find_trainer", lambda name: (trainer, about))
    return trainer


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a study, with pieces of its text replaced, beside its recipe."""

    def write(*changes: tuple[str, str], text: str = STUDY) -> Path:
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "base.yaml").write_text("{width: 8}")
        (tmp_path / "study.yaml").write_text(text)
        return tmp_path / "study.yaml"

    return write
