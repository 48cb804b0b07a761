"""Make a folder to publish: weights, recipe, log, results, pictures and card."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from evenfall.hub import machine, pack_folder
from evenfall.hub.compared import (
    OWN,
    ComparedRun,
    best_folder,
    check_alike,
    differences,
    summarise,
)
from evenfall.runs import Progress

from ..models.loading import Trained, load_trained
from ..models.segmentation import StreamSegmenter
from ..pictures import draw_evaluation
from ..training import checkpoint_recipe
from ..training.evaluation import evaluate_recipe
from .card import make_card

_PACKAGES = ("evenfall-stream", "evenfall-kernels", "torch", "torch-geometric")


def pack(
    runs: Sequence[str | Path],
    data: str | Path,
    output: str | Path,
    *,
    baselines: Mapping[str, Sequence[str | Path]] | None = None,
    splits: Sequence[str] = ("valid", "test"),
    note: str = "",
    command: str = "",
    replace: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Evaluate runs and make a folder with the best one on the first split, results and a card.

    Args:
        runs: folders of runs, or their best/ folders; the recipes may differ only in the seed and
            the validation fold.
        data: folder or file of the data set.
        output: the folder to create; appears complete or not at all.
        baselines: name to runs of another model on the same data, for comparison.
        splits: splits to evaluate; the first one selects the best run, the pictures show the last
            one.
        note: a sentence for the card.
        command: the command that made the folder, for the card.
        replace: whether to replace an existing `output`.
        progress: called with (task, batches done, total).

    Returns:
        `output`.

    Raises:
        FileExistsError: `output` exists and replace is off.
        FileNotFoundError: a run has no recipe.yaml, or the data is missing.
        ImportError: matplotlib is not installed.
        ValueError: there are no runs or splits; the first split is test with several runs; the
            recipes differ in more than seed and fold; a baseline is of another task; the data set
            has no such split.
    """
    if not runs or not splits:
        raise ValueError(f"runs and splits must not be empty, got {runs} and {splits}")
    if len(runs) > 1 and splits[0] == "test":
        raise ValueError(
            "splits: do not select a run on the test split; list 'valid' first, or pass one run"
        )

    def fill(folder: Path) -> dict[str, Any]:
        groups = {OWN: runs, **(baselines or {})}
        entries = [_open(label, run) for label, group in groups.items() for run in group]
        tasks = sorted({entry.recipe.task for entry in entries})
        if len(tasks) > 1:
            raise ValueError(f"runs and baselines must have one task, got {tasks}")
        check_alike(entries)
        for number, entry in enumerate(entries, 1):
            for split in splits:
                task = f"{split}, run {number} of {len(entries)}"
                report = None if progress is None else partial(progress, task)
                entry.evaluations[split] = evaluate_recipe(
                    entry.model, entry.recipe, data, split, progress=report
                )
        own = [entry for entry in entries if entry.label == OWN]
        metric = score_of(own[0].model)
        best = max(own, key=lambda entry: entry.evaluations[splits[0]][metric])
        last = splits[-1]
        draw_evaluation(best.evaluations[last], best.model, best.recipe, data, last, folder)
        shutil.copyfile(best.folder / "recipe.yaml", folder / "recipe.yaml")
        log = best.folder.parent / "log.jsonl"
        if log.is_file():
            shutil.copyfile(log, folder / "log.jsonl")
        best.model.save_pretrained(folder)
        return {**_results(entries, best), "note": note}

    return pack_folder(
        output, fill, make_card, command=command, packages=_PACKAGES, replace=replace
    )


def score_of(model: Trained) -> str:
    """The score that selects and describes a model: accuracy, or the mIoU of a segmenter."""
    return "mean_iou" if isinstance(model, StreamSegmenter) else "accuracy"


def _open(label: str, run: str | Path) -> ComparedRun:
    folder = best_folder(run)
    return ComparedRun(label, folder, load_trained(folder), checkpoint_recipe(folder))


def _results(entries: list[ComparedRun], best: ComparedRun) -> dict[str, Any]:
    model = best.model
    return {
        "kind": type(model).__name__,
        "dataset": best.recipe.dataset,
        "classes": model.class_names,
        "parameters": best.parameters,
        "seed": best.recipe.seed,
        "recipe": asdict(best.recipe),
        "differences": differences(entries, best),
        "summary": summarise(entries, score_of(model)),
        "evaluations": [
            {
                "model": entry.label,
                "seed": entry.recipe.seed,
                "published": entry is best,
                "split": split,
                **(evaluation if entry is best else _short(evaluation)),
            }
            for entry in entries
            for split, evaluation in entry.evaluations.items()
        ],
        "machine": machine(next(model.parameters()).device.type),
    }


def _short(evaluation: dict[str, Any]) -> dict[str, Any]:
    by_class = ("class_accuracy", "class_iou")
    return {key: value for key, value in evaluation.items() if key not in by_class}
