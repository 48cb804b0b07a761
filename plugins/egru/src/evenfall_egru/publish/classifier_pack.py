"""Make the folder to publish from runs of a classifier: weights, results, card and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evenfall.counting import Operations, count_operations
from evenfall.hub import machine, pack_folder
from evenfall.hub.compared import (
    OWN,
    ComparedRun,
    best_folder,
    check_alike,
    differences,
    pack_command,
    summarise,
)
from evenfall.pictures import draw_confusion, draw_raster, require_pictures
from evenfall.runs import Progress

from ..evaluation.accuracy import evaluate_frames
from ..models.classification_egru import EgruForSequenceClassification
from ..sequences.frames import Frames, all_options, read_frames
from ..training.trained import load_trained
from .classifier_card import make_card
from .packing import (
    PACKAGES,
    RASTER,
    copy_raster,
    find_dtype,
    model_record,
    round_weights,
    training_record,
    write_model,
)

SPLITS = ("valid", "test")
_COUNTED = 1000
_BATCH = 250


def pack_classifier(
    runs: Sequence[str | Path],
    data: str | Path,
    output: str | Path,
    *,
    baselines: Mapping[str, Sequence[str | Path]] | None = None,
    dtype: str = "bfloat16",
    note: str = "",
    picture: str | Path | None = None,
    replace: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Round the weights of the runs to `dtype`, evaluate them, and write the folder.

    Each run is evaluated once on validation and once on test. The one with the best accuracy on
    validation is published. Baselines keep their trained weights.

    Args:
        runs: runs of `evenfall egru classify` with cell "egru", or their best/ folders; the recipes
            may differ only in the seed and the fold.
        data: folder or file of the data set.
        output: the folder to make; it is written completely or not at all.
        baselines: name to runs of other models on the same data, for comparison.
        dtype: dtype of the weights in the file, "float32", "bfloat16" or "float16".
        note: a sentence for the card.
        picture: another file for the raster of events, such as an image of a page.
        replace: replace an existing `output`.
        progress: called with (task, runs done, all runs).

    Raises:
        FileExistsError: `output` exists and `replace` is off.
        FileNotFoundError: a run has no recipe or no weights, or the data is missing.
        ImportError: matplotlib is not installed.
        ValueError: no runs, a run that is not an EGRU, runs with unlike recipes or other data, an
            unknown dtype, or more than 15 MB of weights.
    """
    storage_dtype = find_dtype(dtype)
    if not runs:
        raise ValueError(f"runs must not be empty, got {list(runs)}")
    require_pictures()
    others = baselines or {}
    compared = [_open(OWN, run, storage_dtype) for run in runs]
    compared += [_open(name, run) for name, group in others.items() for run in group]
    check_alike(compared)
    _check_data(compared)
    frames: dict[str, Frames] = {}

    def fill(folder: Path) -> dict[str, Any]:
        for number, run in enumerate(compared):
            options = run.recipe.dataset_options
            for split in SPLITS:
                if progress is not None:
                    progress(f"{split}, {run.label}", number, len(compared))
                known = f"{split} {options}"
                if known not in frames:
                    frames[known] = read_frames(run.recipe.dataset, data, split, options)
                run.evaluations[split] = _evaluate(run.model, frames[known])
        own = [run for run in compared if run.label == OWN]
        best = max(own, key=lambda run: run.evaluations["valid"]["accuracy"])
        test = frames[f"test {best.recipe.dataset_options}"]
        settings = asdict(best.recipe)
        size = write_model(best.model, None, _plain(settings), folder, storage_dtype)
        draw_confusion(best.evaluations["test"], folder / "confusion.png")
        _draw_events(best.model, test, folder / RASTER)
        return {
            "machine": machine(next(best.model.parameters()).device.type),
            "dataset_options": all_options(best.recipe.dataset, best.recipe.dataset_options),
            "model": {
                "steps": test.x.shape[1],
                "features": test.x.shape[2],
                "classes": list(test.classes),
                **model_record(best.model, dtype, size),
            },
            "training": training_record(best.folder, _plain(settings), "eval_accuracy", max),
            "seed": best.recipe.seed,
            "note": note,
            "differences": differences(compared, best),
            "summary": [_with_costs(row, compared) for row in summarise(compared)],
            "evaluations": [
                {
                    "model": run.label, "seed": run.recipe.seed, "published": run is best,
                    "split": split, **(result if run is best else _short(result)),
                }
                for run in compared
                for split, result in run.evaluations.items()
            ],
        }  # fmt: skip

    command = pack_command(
        "evenfall egru pack", runs, others, f"--output {Path(output).name} --dtype {dtype}"
    )
    pack_folder(output, fill, make_card, command=command, packages=PACKAGES, replace=replace)
    copy_raster(Path(output), picture)
    return Path(output)


def _open(label: str, run: str | Path, dtype: torch.dtype | None = None) -> ComparedRun:
    folder = best_folder(run)
    model, recipe = load_trained(folder)
    if dtype is not None:
        if not isinstance(model, EgruForSequenceClassification):
            raise ValueError(
                f"run {run} must be an EGRU, whose code travels with it, got cell {recipe.cell!r}; "
                "name it as a baseline"
            )
        round_weights(model, dtype)
    return ComparedRun(label, folder, model, recipe)


def _check_data(runs: Sequence[ComparedRun]) -> None:
    """All must be tested on the same sequences."""
    first = runs[0]
    for run in runs:
        for name in ("dataset", "dataset_options"):
            got, want = run.settings[name], first.settings[name]
            if got != want:
                raise ValueError(
                    f"runs must have the same {name}, got {got} in {run.folder} and {want} in "
                    f"{first.folder}"
                )


def _evaluate(model: torch.nn.Module, frames: Frames) -> dict[str, Any]:
    """Accuracy, loss, activity, confusion and operations; nothing that depends on a clock."""
    result = evaluate_frames(model, frames, _BATCH)
    predictions = np.asarray(result["predictions"])
    classes, labels = frames.classes, frames.labels.numpy()
    confusion: np.ndarray = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (labels, predictions), 1)
    totals = confusion.sum(1)
    accuracies = [
        float(row[i] / total) if total else None
        for i, (row, total) in enumerate(zip(confusion, totals, strict=True))
    ]
    known = [value for value in accuracies if value is not None]
    return {
        "accuracy": result["accuracy"],
        "loss": result["loss"],
        "examples": result["sequences"],
        "activity": result["activity"],
        "backward_sparsity": result["backward_sparsity"],
        "macs": _count(model, frames),
        "mean_class_accuracy": sum(known) / len(known),
        "class_accuracy": dict(zip(classes, accuracies, strict=True)),
        "confusion": confusion.tolist(),
    }


def _count(model: torch.nn.Module, frames: Frames) -> dict[str, Any] | None:
    """Multiply-accumulates per sequence, over the first 1,000; None if a part has no counter."""
    device = next(model.parameters()).device
    total, counted = Operations(), min(len(frames), _COUNTED)
    for first in range(0, counted, _BATCH):
        batch = frames.batch(slice(first, min(first + _BATCH, counted)))
        count = count_operations(model, inputs_embeds=batch["inputs_embeds"].to(device))
        if count.unknown or set(count.not_called) - {"model.embed_tokens"}:  # frames replace it
            return None
        total += count.total
    effective = total.effective_macs + total.effective_acs
    return {
        "sequences": counted,
        "dense": total.dense_macs / counted,
        "effective": effective / counted,
        "ratio": total.dense_macs / effective if effective else 0.0,
    }


def _draw_events(model: EgruForSequenceClassification, frames: Frames, path: Path) -> None:
    """The events while the first sequence is read."""
    with torch.no_grad():
        batch = frames.batch(slice(0, 1))["inputs_embeds"].to(model.device)
        output = model(inputs_embeds=batch, use_cache=False, output_events=True)
    name = frames.classes[int(frames.labels[0])]
    draw_raster(
        [events[0].cpu() for events in output.events], path, step="step",
        title=f"Events while an EGRU reads one sequence, of class {name}",
    )  # fmt: skip


def _with_costs(row: dict[str, Any], runs: Sequence[ComparedRun]) -> dict[str, Any]:
    """A row of the summary, with the mean activity and operations of its runs."""
    results = [run.evaluations[row["split"]] for run in runs if run.label == row["model"]]
    rates = [rate for result in results for rate in result["activity"]]
    counts = [result["macs"] for result in results if result["macs"] is not None]
    costs = None
    if len(counts) == len(results):
        costs = {
            name: sum(count[name] for count in counts) / len(counts)
            for name in ("dense", "effective")
        }
    return {**row, "activity": sum(rates) / len(rates) if rates else None, "macs": costs}


def _short(result: dict[str, Any]) -> dict[str, Any]:
    left_out = ("class_accuracy", "mean_class_accuracy", "confusion")
    return {name: value for name, value in result.items() if name not in left_out}


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Lists instead of tuples, which YAML's safe loader does not know."""
    return {n: list(value) if isinstance(value, tuple) else value for n, value in settings.items()}
