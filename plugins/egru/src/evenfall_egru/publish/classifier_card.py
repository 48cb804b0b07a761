"""The model card of a published classifier. Every figure comes from results.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCard

from evenfall.hub import markdown_table, model_card, recipe_text, wrap_text
from evenfall.hub.compared import OWN, class_table, score_text

from .card import PAPER, activity_table
from .packing import training_text

_DATA = Path(__file__).parent / "data"
_TEXT = (_DATA / "classifier.md").read_text(encoding="utf-8")
_DATASETS = yaml.safe_load((_DATA / "datasets.yaml").read_text(encoding="utf-8"))


def make_card(results: dict[str, Any]) -> ModelCard:
    """Make the card, with the results as evaluation metadata."""
    name, model, training = results["checkpoint"], results["model"], results["training"]
    published = [row for row in results["evaluations"] if row["published"]]
    test = next(row for row in published if row["split"] == "test")
    words = _words(results)
    values = {
        "name": name,
        "input": wrap_text(words["input"]),
        "layers": ", then ".join(map(str, model["hidden_sizes"])),
        "features": model["features"],
        "steps": model["steps"],
        "count": len(model["classes"]),
        "classes": ", ".join(model["classes"]),
        "parameters": f"{model['parameters']:,}",
        "kilobytes": f"{model['weights_bytes'] / 1e3:,.0f}",
        "dtype": model["weights_dtype"],
        "frames": words["frames"],
        "protocol": wrap_text(
            f"On {words['name']}, of the weights in this folder, in {model['weights_dtype']}. "
            f"{words['protocol']}"
        ),
        "scores": _scores(published),
        "activity": activity_table(test["activity"], model["hidden_sizes"]),
        "compared": _compared(results),
        "per_class": class_table(test, "sequences"),
        "command": results["command"],
        "selection": _selection(results),
        "training": training_text(training),
        "recipe": recipe_text(training["recipe"]),
        "limits": "".join(f"\n- {limit}" for limit in words["limits"]),
        "paper": PAPER,
    }
    return model_card(
        _TEXT,
        values,
        [_result(row, words) for row in published],
        model_name=name,
        library_name="transformers",
        tags=["egru", "event-based", "activity-sparsity", "recurrent", "sequence-classification"],
        metrics=["accuracy"],
    )


def _words(results: dict[str, Any]) -> dict[str, Any]:
    """What the card says of the data set, with its options filled in."""
    dataset, model = results["training"]["recipe"]["dataset"], results["model"]
    options = {**results["dataset_options"], "dataset": dataset}
    options |= {"steps": model["steps"], "features": model["features"]}
    words = {**_DATASETS["any"], **_DATASETS.get(dataset, {})}
    if options.get("folds"):
        words["protocol"] = words["with_folds"]
    limits = [limit.format(**options) for limit in words["limits"]]
    filled = {name: words[name].format(**options) for name in words if name != "limits"}
    return {**filled, "limits": limits}


def _result(evaluation: dict[str, Any], words: dict[str, Any]) -> dict[str, Any]:
    return {
        "task_type": words["task_type"],
        "task_name": words["task_name"],
        "dataset_type": words["hub"],
        "dataset_name": words["name"],
        "dataset_split": evaluation["split"],
        "metric_type": "accuracy",
        "metric_value": round(100 * evaluation["accuracy"], 2),
    }


def _scores(evaluations: list[dict[str, Any]]) -> str:
    return markdown_table(
        ("split", "sequences:", "accuracy:", "loss:", "activity:"),
        [
            (e["split"], f"{e['examples']:,}", f"{100 * e['accuracy']:.2f} %", f"{e['loss']:.4f}",
             f"{100 * sum(e['activity']) / len(e['activity']):.1f} %")
            for e in evaluations
        ],
    )  # fmt: skip


def _compared(results: dict[str, Any]) -> str:
    """The table of seeds and baselines, and what its columns mean."""
    summary, baselines = results["summary"], results["differences"]
    headings = (
        "model", "parameters:", "split", "seeds", "accuracy:", "activity:",
        "effective MACs, millions:", "dense MACs, millions:",
    )  # fmt: skip
    counted = next(row["macs"] for row in results["evaluations"] if row["split"] == "test")
    meaning = ""
    if counted is not None:
        meaning = (
            "Multiply-accumulates (MACs) are those of one sequence, the mean over the first "
            f"{counted['sequences']:,} of the split. Effective ones have a weight and an input "
            "that are not zero: an input of the sequence, or the output of a unit."
        )
    if any(row["deviation"] is not None for row in summary):
        meaning += " An error is the sample standard deviation over the runs."
    if baselines:
        meaning += " The baselines are evaluated with their trained weights, in float32."
    unlike = [
        f"- {name}: the same recipe, except `{json.dumps(difference)}`"
        for name, difference in baselines.items()
    ]
    table = markdown_table(headings, [_row(row) for row in summary])
    parts = [table, wrap_text(meaning.strip()), "\n".join(unlike), wrap_text(results["note"])]
    return "\n\n".join(part for part in parts if part)


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    activity, macs = row["activity"], row["macs"]
    costs = ("-", "-")
    if macs is not None:
        costs = (f"{macs['effective'] / 1e6:.2f}", f"{macs['dense'] / 1e6:.2f}")
    seeds = ", ".join(map(str, row["seeds"]))
    if row["runs"] > 1 and len(set(row["seeds"])) == 1:
        seeds = f"{row['seeds'][0]}, {row['runs']} folds"
    return (
        row["model"], f"{row['parameters']:,}", row["split"], seeds,
        score_text(row), "-" if activity is None else f"{100 * activity:.1f} %", *costs,
    )  # fmt: skip


def _selection(results: dict[str, Any]) -> str:
    runs = next(row["runs"] for row in results["summary"] if row["model"] == OWN)
    which = "The only run" if runs == 1 else f"The best of {runs} runs on validation"
    return wrap_text(
        "`evenfall egru classify recipe.yaml --data DATA --output RUN`: backpropagation through "
        "the whole sequence with transformers' Trainer, which keeps the weights of the epoch with "
        f"the best accuracy on validation. {which}, seed {results['seed']}, is published. The test "
        "split was read only when this folder was written."
    )
