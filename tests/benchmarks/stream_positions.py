"""STREAM and PointMamba's step where no position embedding tells the tokens their place.

    python tests/benchmarks/stream_positions.py --data FOLDER --runs FOLDER [--no-save]

Both are trained by the recipes of ModelNet10, but for `position_embedding: false`, three times
each; every run holds out another tenth of the training clouds, which chooses its epoch and is what
is reported. The test split is not read. Six runs of some minutes each: what was interrupted goes on
where it stopped.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from layout import key, table
from record import Record, Rows
from script import command_of, finish, parser

from evenfall.cli.tools import progress_bars
from evenfall_stream.models.loading import load_checkpoint
from evenfall_stream.training import Recipe, checkpoint_recipe, load_recipe, train
from evenfall_stream.training.evaluation import evaluate_recipe

TITLE = "STREAM without position embedding"
ABOUT = (
    "The recipes of `stream-modelnet10-small` and of its PointMamba baseline, except that no "
    "perceptron tells a token where it lies: what it knows of its place is the order along each "
    "axis, and in STREAM the distances."
)
NOTES = (
    "Accuracy on the tenth of ModelNet10's training clouds that a run held out and that chose its "
    "epoch; the test split is not read."
)
FIGURES = ("accuracy", "mean_class_accuracy", "loss")
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
    figures = {name: found[name] for name in ("examples", *FIGURES)}
    return {"model": model, "seed": seed, **figures}


def tables(record: Record) -> str:
    """Mean and spread of each model's runs, and the two compared run by run."""
    columns = {
        "Model": key("model"),
        "Runs": key("runs"),
        "Held-out clouds": key("examples"),
        "Accuracy": lambda row: spread(row["accuracy"]),
        "Mean over classes": lambda row: spread(row["mean_class_accuracy"]),
        "Loss, nats": lambda row: f"{mean(row['loss']):.3f} ± {stdev(row['loss']):.3f}",
    }
    return table(columns, summaries(record["rows"])) + "\n\n" + compared(record["rows"])


def summaries(rows: Rows) -> Rows:
    """A row for each model, whose figures are lists over its runs."""
    found = []
    for model in dict.fromkeys(row["model"] for row in rows):
        runs = [row for row in rows if row["model"] == model]
        figures: dict[str, Any] = {name: [run[name] for run in runs] for name in FIGURES}
        examples = sum(run["examples"] for run in runs)
        found.append({"model": model, "runs": len(runs), "examples": examples, **figures})
    return found


def spread(shares: list[float]) -> str:
    """Mean and sample standard deviation, in percent."""
    return f"{100 * mean(shares):.2f} ± {100 * stdev(shares):.2f} %"


def compared(rows: Rows) -> str:
    """The difference of the two models, run by run on the same clouds."""
    first, second = summaries(rows)
    gaps = [a - b for a, b in zip(first["accuracy"], second["accuracy"], strict=True)]
    points = ", ".join(f"{100 * gap:+.2f}" for gap in gaps)
    return (
        f"{first['model']} less {second['model']}, fold by fold: {points} points, "
        f"{100 * mean(gaps):+.2f} ± {100 * stdev(gaps):.2f} in the mean."
    )


def main() -> None:
    command_line = parser(__doc__)
    command_line.add_argument("--data", type=Path, required=True, help="ModelNet10's clouds")
    command_line.add_argument("--runs", type=Path, required=True, help="folder for the runs")
    options = command_line.parse_args()
    rows = [measure(model, seed, options.data, options.runs) for seed in SEEDS for model in MODELS]
    command = f"{command_of('stream_positions')} --data FOLDER --runs FOLDER"
    finish("stream_positions", rows, options, NOTES, command)


if __name__ == "__main__":
    main()
