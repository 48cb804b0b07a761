"""Train and evaluate the runs of a study, one after the other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from evenfall import registry
from evenfall.errors import shorten
from evenfall.files import is_full, write_json
from evenfall.reading import read_json
from evenfall.runs import Progress, is_first_rank, run_once
from evenfall.runs.grid_file import Cell, cell_recipe
from evenfall.trainers import Trainer

from .counts import count_model
from .file import StudyFile, read_study
from .plan import StudyRun, plan_study

logger = logging.getLogger(__name__)

RESULTS, TABLE, SPEEDS = "results.json", "study.json", "speeds.json"
_FIELD = "initial_checkpoint"

Row = dict[str, Any]


class _ParentFailed(Exception):
    """The run that this one would begin with has no model."""


def run_study(
    file: str | Path,
    data: str | Path,
    output: str | Path,
    *,
    progress: Progress | None = None,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Train, evaluate and count every run of a study; study.json grows with each.

    A second call skips what has results and continues the rest. A run that fails is listed in the
    table, and so are those that would begin with its model; the others go on.

    Args:
        file: the YAML file, see `evenfall_sparsity.study.file`.
        data: what the trainer reads.
        output: folder of the study; each run has a folder in it.
        progress: called with (run and task, steps done, total steps).
        report: called with the table after each run.

    Returns:
        The content of study.json: the metric, its direction, the levels, and `runs`: for each its
        place in the study, its metrics by split, and its counts; or the reason of its failure.

    Raises:
        FileNotFoundError: the file, the recipe or a checkpoint is not found.
        ValueError: the file or the recipe of a run is not valid; nothing is trained.
        RegistryError: the trainer is not one.
    """
    study, output = read_study(file), Path(output)
    trainer, about = find_trainer(study.trainer)
    runs = plan_study(study)
    bests = best_folders(study, output)
    recipes = plan_recipes(study, Path(file), trainer, bests)
    table = {
        "trainer": study.trainer,
        "metric": about["metric"],
        "greater_is_better": bool(about.get("greater_is_better")),
        "baseline": study.baseline or runs[0].model,
        "levels": study.levels,
        "splits": study.splits,
        "runs": [],
    }
    failed: set[str] = set()
    for run in runs:
        row: Row = {
            "run": run.name, "model": run.model, "seed": run.seed, "method": run.method,
            "level": run.level, "steps": run.steps, "prunes": run.prunes,
        }  # fmt: skip
        bar = None if progress is None else partial(_named, progress, run.name)
        try:
            if run.parent is not None and run.parent.name in failed:
                raise _ParentFailed(f"it begins with {run.parent.name}, which failed")
            row["metrics"] = _metrics(
                run, recipes[run.name], Path(data), output, trainer, study, bar
            )
            row["counts"] = count_model(
                trainer, bests[run.name], run.folder(output), data, study.splits[0]
            )
        except _ParentFailed as error:
            row["failure"] = str(error)
        except Exception as error:
            if is_full(error):
                raise  # no other run could be written either
            logger.exception("%s failed", run.name)
            row["failure"] = f"{type(error).__name__}: {error}"
        if "failure" in row:
            failed.add(run.name)
        table["runs"].append(row)
        add_speeds(table, output)
        if is_first_rank():
            write_json(output / TABLE, table)
            if report is not None:
                report(table)
    return table


def add_speeds(table: dict[str, Any], output: str | Path) -> None:
    """Add what speeds.json has: to each run its `speeds`, and to the table the `timing`."""
    file = Path(output) / SPEEDS
    if file.is_file():
        timing = read_json(file, "speeds")
        speeds = timing.pop("speeds")
        table["timing"] = timing
        for row in table["runs"]:
            if row["run"] in speeds:
                row["speeds"] = speeds[row["run"]]


def _named(progress: Progress, name: str, task: str, done: int, total: int) -> None:
    progress(f"{name}: {task}", done, total)


def find_trainer(name: str) -> tuple[Trainer, Mapping[str, Any]]:
    """A registered trainer, and what its plugin says about it.

    Raises:
        UnknownNameError, RegistryError: there is no such trainer, or it is not one.
    """
    trainer = registry.trainers.get_as(name, Trainer)
    return trainer, registry.trainers.provenance(name).metadata


def best_folders(study: StudyFile, output: str | Path) -> dict[str, Path]:
    """The folder of each run's model, by the name of the run."""
    return {run.name: _best(run, Path(output)) for run in plan_study(study)}


def _best(run: StudyRun, output: Path) -> Path:
    """The folder of the run's model."""
    if run.checkpoint is None:
        return run.folder(output) / "best"
    if Path(run.checkpoint).is_dir():
        return Path(run.checkpoint)
    found: Path = registry.checkpoints.get(run.checkpoint).find()
    return found


def plan_recipes(
    study: StudyFile, file: Path, trainer: Trainer, bests: Mapping[str, Path]
) -> dict[str, Any]:
    """The recipe of each run by the name of the run.

    Args:
        study: the content of `file`.
        file: the recipe is searched beside it.
        trainer: reads the recipe.
        bests: as `best_folders`.

    Raises:
        FileNotFoundError: the recipe is not found.
        ValueError: the recipe of a run is not valid.
    """
    beside = file.parent / study.recipe
    base = trainer.load_recipe(beside if beside.exists() else study.recipe)
    if _FIELD not in [one.name for one in fields(base)]:
        raise ValueError(
            f"trainer {shorten(study.trainer)} cannot begin with the model of another run: its "
            f"recipe has "
            f"no field {_FIELD!r}"
        )
    recipes = {}
    for run in plan_study(study):
        changes = dict(run.changes)
        if run.parent is not None:
            changes[_FIELD] = str(bests[run.parent.name])
        recipes[run.name] = cell_recipe(base, Cell(run.name, run.name, changes), run.seed)
    return recipes


def _metrics(
    run: StudyRun,
    recipe: Any,
    data: Path,
    output: Path,
    trainer: Trainer,
    study: StudyFile,
    progress: Progress | None,
) -> dict[str, dict[str, Any]]:
    """The metrics by split, of a run or of the checkpoint that replaces it."""
    folder = run.folder(output)
    if run.checkpoint is None:
        return run_once(recipe, data, folder, trainer, study.splits, progress=progress)
    file = folder / RESULTS
    stored = read_json(file, "results") if file.is_file() else {}
    same = stored.get("checkpoint") == run.checkpoint
    results: dict[str, dict[str, Any]] = stored.get("results", {}) if same else {}
    if results and stored.get("data", str(data)) != str(data):
        logger.warning("%s has results on %s, not on %s", folder, stored["data"], data)
    for split in study.splits:
        if split not in results:
            results[split] = dict(trainer.evaluate(_best(run, output), data, split))
    if is_first_rank():
        record = {"checkpoint": run.checkpoint, "data": str(data), "results": results}
        write_json(file, record)
    return results
