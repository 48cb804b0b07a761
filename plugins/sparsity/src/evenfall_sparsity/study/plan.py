"""The runs of a study, in the order in which they can be trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .file import START, StudyFile, fill_level


@dataclass(frozen=True)
class StudyRun:
    """One run: a dense model, or one level of a line.

    Attributes:
        model, seed: of the dense model.
        method: the method of the line; None for the dense model itself.
        level: the level of the line, a share of weights; 0 for the dense model. A method without
            callbacks removes none and has the same number of epochs.
        steps: how many levels the line has passed through; 0 for the dense model.
        parent: the run whose best model this one begins with, or None.
        checkpoint: a trained model that replaces this run, or None.
        changes: keys of the recipe -> values.
    """

    model: str
    seed: int
    method: str | None
    level: float
    steps: int
    parent: StudyRun | None
    checkpoint: str | None
    changes: dict[str, Any]

    @property
    def name(self) -> str:
        """The folder of the run in that of the study."""
        parts = (START,) if self.method is None else (self.method, f"{self.level:g}")
        return "/".join((self.model, f"seed-{self.seed}", *parts))

    @property
    def prunes(self) -> bool:
        """Whether callbacks remove weights."""
        return self.method is not None and bool(self.changes["callbacks"])

    def folder(self, output: Path) -> Path:
        """The folder of the run."""
        return output / self.name


def plan_study(study: StudyFile) -> list[StudyRun]:
    """Every run once, each after its parent, line by line in the order of the file."""
    starts: dict[tuple[str, int], StudyRun] = {}
    runs: list[StudyRun] = []
    for line in study.lines:
        for seed in line.seeds:
            for run in _starts(study, line.model, seed):
                if (run.model, seed) not in starts:
                    starts[run.model, seed] = run
                    runs.append(run)
            parent = starts[line.model, seed]
            for steps, level in enumerate(study.levels, 1):
                parent = _level(study, line.method, parent, level, steps)
                runs.append(parent)
    return runs


def _starts(study: StudyFile, name: str, seed: int) -> Iterator[StudyRun]:
    """The dense model, after those that it begins with."""
    model = study.models[name]
    parent = None
    if model.after is not None:
        *earlier, parent = _starts(study, model.after, seed)
        yield from (*earlier, parent)
    yield StudyRun(name, seed, None, 0, 0, parent, model.checkpoints.get(seed), model.changes)


def _level(study: StudyFile, method: str, parent: StudyRun, level: float, steps: int) -> StudyRun:
    callbacks = fill_level(study.methods[method], level)
    model = study.models[parent.model]
    changes = {**model.changes, **study.level_changes, "callbacks": callbacks}
    return StudyRun(parent.model, parent.seed, method, level, steps, parent, None, changes)
