"""STREAM and PointMamba's step where no position embedding tells the tokens their place.

    python tests/benchmarks/train_stream_positions.py --data FOLDER --runs FOLDER [--no-save]

Both are trained by the recipes of ModelNet10, but for `position_embedding: false`, three times
each; every run holds out another tenth of the training clouds, which chooses its epoch and is what
is reported. The test split is not read. Six runs of some minutes each: what was interrupted goes on
where it stopped.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from record import save, table

from evenfall.cli.tools import progress_bars
from evenfall_stream.models.loading import load_checkpoint
from evenfall_stream.training import Recipe, checkpoint_recipe, load_recipe, train
from evenfall_stream.training.evaluation import evaluate_recipe

MODELS = {"STREAM": "modelnet10", "PointMamba": "modelnet10-pointmamba"}
SEEDS = range(3)


def without_position(name: str, seed: int) -> Recipe:
    """A shipped recipe of ModelNet10 whose tokens know order and steps only."""
    recipe = load_recipe(name)
    return replace(
        recipe,
        model_options={**recipe.model_options, "position_embedding": False},
        dataset_options={**recipe.dataset_options, "fold": seed},
        seed=seed,
    )


def measure(model: str, seed: int, data: Path, runs: Path) -> dict[str, Any]:
    """A row: train unless it is done, then classify the held-out tenth with the chosen epoch."""
    recipe = without_position(MODELS[model], seed)
    with progress_bars() as report:
        best = train(
            recipe, data, runs / f"{MODELS[model]}-seed{seed}", resume=True, progress=report
        )
    found = evaluate_recipe(load_checkpoint(best, "cpu"), checkpoint_recipe(best), data, "valid")
    kept = ("examples", "accuracy", "mean_class_accuracy", "loss")
    return {"model": model, "seed": seed, **{name: found[name] for name in kept}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of ModelNet10's clouds")
    parser.add_argument("--runs", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--no-save", action="store_true", help="do not write docs/benchmarks")
    arguments = parser.parse_args()
    rows = [
        measure(model, seed, arguments.data, arguments.runs) for seed in SEEDS for model in MODELS
    ]
    table("without position embedding, held-out tenths", rows)
    if not arguments.no_save:
        save(
            "stream_positions", rows,
            "python tests/benchmarks/train_stream_positions.py --data FOLDER --runs FOLDER",
            "Accuracy on the tenth of ModelNet10's training clouds that a run held out and that "
            "chose its epoch; the test split is not read.",
        )  # fmt: skip


if __name__ == "__main__":
    main()
