"""The folder to publish: weights, recipe, log, results, pictures and card."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from evenfall.hub import machine, pack_folder
from evenfall.runs import Progress

from ..models.loading import Classifier, load_checkpoint
from ..pictures import draw_evaluation
from ..training import Recipe, checkpoint_recipe
from ..training.evaluation import evaluate_recipe
from .card import make_card

OWN = "this model"
_PACKAGES = ("evenfall-stream", "evenfall-kernels", "torch", "torch-geometric")


@dataclass
class _Entry:
    """A run that is evaluated: what it is called, its model, recipe and evaluations by split."""

    label: str
    folder: Path
    model: Classifier
    recipe: Recipe
    found: dict[str, dict[str, Any]]


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
    """Evaluate runs, publish the one that is best on the first split, and write what was found.

    Args:
        runs: folders of runs, or their best/ folders, that differ in the seed alone, and in the
            fold that is held out.
        data: folder or file of the data set.
        output: the folder to be; appears whole or not at all.
        baselines: name to runs of another model on the same data, which are evaluated alike.
        splits: that are evaluated; the first one chooses among the runs, the pictures are of the
            last one.
        note: a sentence for the card.
        command: that made the folder, for the card.
        replace: whether `output` may be replaced.
        progress: called with (what, batches done, in all).

    Returns:
        `output`.

    Raises:
        FileExistsError: `output` exists and may not be replaced.
        FileNotFoundError: a run has no recipe.yaml, or no data.
        ImportError: matplotlib is not installed.
        ValueError: no runs or splits; several runs to be chosen among on test; runs whose recipes
            differ in more than seed and fold; a split that the data set does not have.
    """
    if not runs or not splits:
        raise ValueError(f"runs and splits must name at least one, got {runs} and {splits}")
    if len(runs) > 1 and splits[0] == "test":
        raise ValueError(
            "splits: the first one chooses among the runs, which test must not; "
            "name valid first, or a single run"
        )

    def fill(folder: Path) -> dict[str, Any]:
        groups = {OWN: runs, **(baselines or {})}
        entries = [_open(label, run) for label, group in groups.items() for run in group]
        _check_alike(entries)
        for number, entry in enumerate(entries, 1):
            for split in splits:
                what = f"{split}, run {number} of {len(entries)}"
                report = None if progress is None else partial(progress, what)
                entry.found[split] = evaluate_recipe(
                    entry.model, entry.recipe, data, split, progress=report
                )
        own = [entry for entry in entries if entry.label == OWN]
        best = max(own, key=lambda entry: entry.found[splits[0]]["accuracy"])
        draw_evaluation(best.found[splits[-1]], best.model, best.recipe, data, splits[-1], folder)
        shutil.copyfile(best.folder / "recipe.yaml", folder / "recipe.yaml")
        log = best.folder.parent / "log.jsonl"
        if log.is_file():
            shutil.copyfile(log, folder / "log.jsonl")
        best.model.save_pretrained(folder)
        return {**_results(entries, best, splits), "note": note}

    return pack_folder(
        output, fill, make_card, command=command, packages=_PACKAGES, replace=replace
    )


def _open(label: str, run: str | Path) -> _Entry:
    folder = Path(run)
    folder = folder / "best" if (folder / "best").is_dir() else folder
    return _Entry(label, folder, load_checkpoint(folder), checkpoint_recipe(folder), {})


def _check_alike(entries: list[_Entry]) -> None:
    """The runs of each name differ in nothing but seed and fold."""
    first: dict[str, dict[str, Any]] = {}
    for entry in entries:
        choices = _choices(entry.recipe)
        same = first.setdefault(entry.label, choices)
        changed = [name for name in choices if choices[name] != same[name]]
        if changed:
            raise ValueError(f"runs of {entry.label}: {entry.folder} differs in {changed}")


def _choices(recipe: Recipe) -> dict[str, Any]:
    """The recipe but for what runs of one model may differ in."""
    options = {name: v for name, v in recipe.dataset_options.items() if name != "fold"}
    return {**asdict(recipe), "seed": None, "dataset_options": options}


def _results(entries: list[_Entry], best: _Entry, splits: Sequence[str]) -> dict[str, Any]:
    model = best.model
    return {
        "kind": type(model).__name__,
        "dataset": best.recipe.dataset,
        "classes": model.class_names,
        "parameters": _parameters(model),
        "seed": best.recipe.seed,
        "recipe": asdict(best.recipe),
        "differences": _differences(entries, best),
        "summary": _summary(entries, splits),
        "evaluations": [
            {
                "model": entry.label,
                "seed": entry.recipe.seed,
                "published": entry is best,
                "split": split,
                **(found if entry is best else _short(found)),
            }
            for entry in entries
            for split, found in entry.found.items()
        ],
        "machine": machine(next(model.parameters()).device.type),
    }


def _summary(entries: list[_Entry], splits: Sequence[str]) -> list[dict[str, Any]]:
    """Mean and sample standard deviation of the accuracy over the runs of each model."""
    rows = []
    for label in dict.fromkeys(entry.label for entry in entries):
        group = [entry for entry in entries if entry.label == label]
        for split in splits:
            scores = [entry.found[split]["accuracy"] for entry in group]
            rows.append({
                "model": label,
                "split": split,
                "runs": len(group),
                "seeds": [entry.recipe.seed for entry in group],
                "examples": group[0].found[split]["examples"],
                "accuracy": mean(scores),
                "deviation": stdev(scores) if len(scores) > 1 else None,
                "parameters": _parameters(group[0].model),
            })  # fmt: skip
    return rows


def _differences(entries: list[_Entry], best: _Entry) -> dict[str, dict[str, Any]]:
    """By baseline, what its recipe has otherwise than the published model's."""
    own, found = _choices(best.recipe), {}
    for entry in entries:
        if entry.label != OWN:
            theirs = _choices(entry.recipe)
            found[entry.label] = {n: theirs[n] for n in own if theirs[n] != own[n]}
    return found


def _short(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key != "class_accuracy"}


def _parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
