"""The model card of a published checkpoint; every figure in it comes from results.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from evenfall.hub import markdown_table, model_card, recipe_text, wrap_text
from evenfall.hub.compared import class_table, score_text

_DATA = Path(__file__).parent / "data"
_TEXT = (_DATA / "card.md").read_text(encoding="utf-8")
_SCORES = {"accuracy": "accuracy", "mean_iou": "mIoU"}
_COUNTED = {"accuracy": "examples", "mean_iou": "points"}
_TITLES = {"accuracy": "Accuracy", "mean_iou": "Mean intersection over union (mIoU) of the classes"}
_WORDS = yaml.safe_load((_DATA / "card.yaml").read_text(encoding="utf-8"))


def make_card(results: dict[str, Any]) -> Any:
    """The card as huggingface_hub's ModelCard, with the results as evaluation metadata."""
    name, kind = results["checkpoint"], results["kind"]
    metric = "accuracy" if "accuracy" in results["summary"][0] else "mean_iou"
    words = {**_WORDS["any"], **_WORDS[kind], **_WORDS.get(results["dataset"], {})}
    published = [row for row in results["evaluations"] if row["published"]]
    own = [row for row in results["summary"] if row["model"] == published[0]["model"]]
    runs = own[0]["runs"]
    classes = results["classes"] or []
    values = {
        "name": name,
        "kind": kind,
        "description": wrap_text(words["description"]),
        "parameters": f"{results['parameters']:,}",
        "classes": len(classes),
        "class_list": ", ".join(classes),
        "usage": words["usage"],
        "dataset": words["dataset"],
        "protocol": wrap_text(words["protocol"]),
        "selection": _selection(runs, [row["split"] for row in own], results["seed"], metric),
        "score_title": _TITLES[metric],
        "summary": _summary(results, metric),
        "differences": _differences(results["differences"]),
        "note": wrap_text(results["note"]),
        "last_split": published[-1]["split"],
        "per_class": class_table(published[-1], _COUNTED[metric]),
        "pictures": words["pictures"],
        "command": results["command"],
        "recipe": recipe_text(results["recipe"]),
        "limits": wrap_text(words["limits"]) + _other_clouds(results.get("other_clouds")),
        "source": wrap_text(words["source"]),
    }
    return model_card(
        _TEXT,
        values,
        [_result(row, results["dataset"], words, metric) for row in published],
        model_name=name,
        library_name="evenfall",
        tags=["stream", "state-space-model", "torch_geometric", *words["tags"]],
        metrics=[metric],
    )


def _selection(runs: int, splits: list[str], seed: int, metric: str) -> str:
    """How the published run was selected, on the first of the splits."""
    test = " The test split was read only when this folder was written." if "test" in splits else ""
    if runs == 1:
        return f"The published weights are from the only run, seed {seed}.{test}"
    return wrap_text(
        f"The published weights are from the run with the best {_SCORES[metric]} on {splits[0]} "
        f"out of {runs} runs, seed {seed}.{test} The error is the sample standard deviation over "
        "the seeds."
    )


def _result(
    evaluation: dict[str, Any], dataset: str, words: dict[str, Any], metric: str
) -> dict[str, Any]:
    return {
        "task_type": words["task_type"],
        "task_name": words["task_name"],
        "dataset_type": dataset,
        "dataset_name": words["dataset"],
        "dataset_split": evaluation["split"],
        "metric_type": metric,
        "metric_value": round(100 * evaluation[metric], 2),
    }


def _summary(results: dict[str, Any], metric: str) -> str:
    return markdown_table(
        ("model", "parameters:", "split", f"{_COUNTED[metric]}:", "seeds", f"{_SCORES[metric]}:"),
        [
            (row["model"], f"{row['parameters']:,}", row["split"], _examples(results, row),
             ", ".join(map(str, row["seeds"])), score_text(row, metric))
            for row in results["summary"]
        ],
    )  # fmt: skip


def _examples(results: dict[str, Any], row: dict[str, Any]) -> str:
    """The number of examples in a row of the summary, or its range if folds differ in size."""
    numbers = [
        one["examples"]
        for one in results["evaluations"]
        if (one["model"], one["split"]) == (row["model"], row["split"])
    ]
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _differences(by_baseline: dict[str, dict[str, Any]]) -> str:
    """A line for each baseline: how its recipe differs."""
    return "\n".join(
        f"- {name}: the same recipe, except `{json.dumps(difference)}`"
        for name, difference in by_baseline.items()
        if difference
    )


def _other_clouds(found: dict[str, Any] | None) -> str:
    """A table of what the model does with clouds that it was not trained for, if measured."""
    if found is None:
        return ""
    rows = [(row["clouds"], f"{100 * row['accuracy']:.1f} %") for row in found["rows"]]
    heading = wrap_text(f"The published weights on other clouds. {found['notes']}")
    measured = f"Measured by `{found['command']}` on {found['cpu']}."
    return "\n\n".join(
        ["", heading, markdown_table(("clouds", "accuracy:"), rows), wrap_text(measured)]
    )
