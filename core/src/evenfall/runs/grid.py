"""Grids of runs: train each cell with each seed, continue stopped runs, make a table."""

from __future__ import annotations

import logging
from functools import partial
from itertools import combinations
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from evenfall.files import is_full, write_json, write_text
from evenfall.hub import markdown_table
from evenfall.recipes import changed_keys
from evenfall.trainers import Trainer

from .grid_file import Cell, GridFile, cell_recipe, list_cells, read_grid
from .lock import is_first_rank
from .once import run_once
from .progress import Progress

logger = logging.getLogger(__name__)


def run_grid(
    grid: str | Path,
    data: str | Path,
    output: str | Path,
    trainer: Trainer,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train and evaluate every cell with every seed; write the table as grid.json and grid.md.

    A run has the folder `output/CELL/seed-N`. A second call skips runs that have results and
    resumes the others. A run that fails is logged, listed in the table, and tried again by the next
    call. A full disk ends the call.

    Args:
        grid: the YAML file, see `evenfall.runs.grid_file`.
        data: the data that the trainer reads.
        output: folder of the grid.
        trainer: trains and evaluates one run, for example one of `evenfall.registry.trainers`.
        progress: called with (run and task, steps done, total steps).

    Returns:
        The content of grid.json: for each cell its name, changes, runs, failures (run -> message)
        and figures. A figure, by split and metric, has the mean, the values, and their deviation
        (of the sample; None for one seed).

    Raises:
        FileNotFoundError: there is no such grid or recipe.
        ValueError: the grid or the recipe of a cell is not valid, or two cells are the same
            recipe; nothing is trained.
    """
    path, data, output = Path(grid), Path(data), Path(output)
    file = read_grid(path)
    beside = path.parent / file.recipe
    base = trainer.load_recipe(beside if beside.exists() else file.recipe)
    seeds: list[int | None] = [*file.seeds] if file.seeds else [None]
    plan = [(cell, [cell_recipe(base, cell, seed) for seed in seeds]) for cell in list_cells(file)]
    _check_different([(cell, recipes[0]) for cell, recipes in plan])
    rows = []
    for cell, recipes in plan:
        results: dict[str, Any] = {}
        failures: dict[str, str] = {}
        for recipe in recipes:
            name = f"seed-{recipe.seed}"
            folder = output / cell.folder / name
            report = None if progress is None else partial(_report, progress, cell, name)
            try:
                results[name] = _run(recipe, data, folder, trainer, file, report)
            except Exception as error:
                if is_full(error):
                    raise  # no other run could be written either
                logger.exception("%s, %s failed", cell.name, name)
                failures[name] = f"{type(error).__name__}: {error}"
        rows.append(_row(cell, results, failures, file))
    table = {"recipe": file.recipe, "splits": file.splits, "cells": rows}
    if is_first_rank():
        write_json(output / "grid.json", table)
        write_text(output / "grid.md", grid_table(table))
    return table


def _report(progress: Progress, cell: Cell, name: str, task: str, done: int, total: int) -> None:
    progress(f"{cell.name}, {name}: {task}", done, total)


def _run(
    recipe: Any,
    data: Path,
    folder: Path,
    trainer: Trainer,
    grid: GridFile,
    progress: Progress | None,
) -> dict[str, Any]:
    """Train and evaluate one run.

    Raises:
        ValueError: `grid.metrics` has a name that the trainer does not measure.
    """
    results = run_once(recipe, data, folder, trainer, grid.splits, progress=progress)
    for split in grid.splits:
        unknown = [name for name in grid.metrics if name not in results[split]]
        if unknown:
            raise ValueError(
                f"metrics {unknown} are not among those of {split}: {[*results[split]]}"
            )
    return results


def _check_different(cells: list[tuple[Cell, Any]]) -> None:
    """Refuse two cells of the same recipe, such as 1e-3 and 0.001."""
    for (first, one), (second, other) in combinations(cells, 2):
        if not changed_keys(one, other):
            raise ValueError(
                f"cells {first.name!r} and {second.name!r} are the same recipe; remove one of them"
            )


def _row(
    cell: Cell, results: dict[str, Any], failures: dict[str, str], grid: GridFile
) -> dict[str, Any]:
    figures = {}
    for split in grid.splits:
        runs = [run[split] for run in results.values()]
        names = grid.metrics or [n for n, v in (runs or [{}])[0].items() if _is_number(v)]
        figures[split] = {name: _figure([run.get(name) for run in runs]) for name in names}
    return {
        "cell": cell.name,
        "changes": cell.changes,
        "runs": list(results),
        "failures": failures,
        "figures": figures,
    }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _figure(results: list[Any]) -> dict[str, Any]:
    values = [value for value in results if _is_number(value)]
    return {
        "mean": mean(values) if values else None,
        "deviation": stdev(values) if len(values) > 1 else None,
        "values": values,
    }


def grid_table(table: dict[str, Any]) -> str:
    """The table of run_grid in Markdown: a row for each cell and split, mean ± deviation."""
    splits = (split for cell in table["cells"] for split in cell["figures"].values())
    metrics = list(dict.fromkeys(metric for split in splits for metric in split))
    rows = [
        (
            cell["cell"],
            split,
            len(cell["runs"]),
            *(_score(figures.get(metric)) for metric in metrics),
        )
        for cell in table["cells"]
        for split, figures in cell["figures"].items()
    ]
    lines = [markdown_table(("cell", "split", "runs:", *(f"{m}:" for m in metrics)), rows)]
    for cell in table["cells"]:
        lines += [f"\n{cell['cell']}, {run} failed: {why}" for run, why in cell["failures"].items()]
    return "\n".join(lines) + "\n"


def _score(figure: dict[str, Any] | None) -> str:
    if figure is None or figure["mean"] is None:
        return "-"
    deviation = "" if figure["deviation"] is None else f" ± {figure['deviation']:.2g}"
    return f"{figure['mean']:.4g}{deviation}"
