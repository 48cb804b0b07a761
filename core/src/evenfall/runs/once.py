"""One run of a grid or a study: trained and evaluated, unless its folder has the results."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evenfall.files import check_finite, write_json
from evenfall.reading import read_json
from evenfall.recipes import changed_keys, make_recipe
from evenfall.trainers import Trainer

from .lock import is_first_rank
from .progress import Progress

logger = logging.getLogger(__name__)


def run_once(
    recipe: Any,
    data: Path,
    folder: Path,
    trainer: Trainer,
    splits: Sequence[str],
    *,
    progress: Progress | None = None,
) -> dict[str, dict[str, Any]]:
    """Train, or continue, the run in `folder` and evaluate its best model; the folder gets
    results.json. A run that has results of this recipe is not trained again.

    Args:
        recipe: a recipe of the trainer.
        data: the data that the trainer reads.
        folder: folder of the run.
        trainer: trains and evaluates.
        splits: the splits to evaluate on.
        progress: called with (task, steps done, total steps).

    Returns:
        For each split, the metrics by name.

    Raises:
        ValueError: a value of the recipe or a result is NaN or infinite, or results.json is
            damaged.
        Exception: what the trainer raises.
    """
    file = folder / "results.json"
    check_finite(asdict(recipe), "recipe")  # before it is trained
    choices = json.loads(json.dumps(asdict(recipe)))
    stored = read_json(file, "results") if file.is_file() else {}
    results = stored.get("results") if _is_of(stored, recipe) else None
    if not isinstance(results, dict):
        results = {}
    if results and stored.get("data", str(data)) != str(data):
        logger.warning("%s has results on %s, not on %s", folder, stored["data"], data)
    if not set(splits) <= set(results):
        best = trainer.train(recipe, data, folder, resume=True, progress=progress)
        for split in splits:
            results[split] = dict(trainer.evaluate(best, data, split))
        if is_first_rank():
            record = {"recipe": choices, "data": str(data), "results": results}
            write_json(file, record)
    return {split: results[split] for split in splits}


def _is_of(stored: dict[str, Any], recipe: Any) -> bool:
    """Whether stored results are of this recipe; a choice that they lack has its default."""
    try:
        before = make_recipe(stored.get("recipe", {}), type(recipe))
    except ValueError:
        return False
    return bool(stored) and not changed_keys(before, recipe)
