"""The model card of a published checkpoint; every figure in it comes from results.json."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import yaml

from evenfall.hub import markdown_table, model_card, recipe_text

_DATA = Path(__file__).parent / "data"
_TEXT = (_DATA / "card.md").read_text(encoding="utf-8")
_WORDS = yaml.safe_load((_DATA / "card.yaml").read_text(encoding="utf-8"))


def make_card(results: dict[str, Any]) -> Any:
    """The card as huggingface_hub's ModelCard, with the results as evaluation metadata."""
    name, kind = results["checkpoint"], results["kind"]
    words = {**_WORDS["any"], **_WORDS[kind], **_WORDS.get(results["dataset"], {})}
    published = [found for found in results["evaluations"] if found["published"]]
    own = [row for row in results["summary"] if row["model"] == published[0]["model"]]
    runs = own[0]["runs"]
    classes = results["classes"] or []
    values = {
        "name": name,
        "kind": kind,
        "what": _wrapped(words["what"]),
        "parameters": f"{results['parameters']:,}",
        "classes": len(classes),
        "class_list": ", ".join(classes),
        "usage": words["usage"],
        "dataset": words["dataset"],
        "protocol": _wrapped(words["protocol"]),
        "runs": f"{runs} runs" if runs > 1 else "one run",
        "choosing": own[0]["split"],
        "seed": results["seed"],
        "summary": _summary(results["summary"]),
        "differences": _differences(results["differences"]),
        "note": _wrapped(results["note"]),
        "last": published[-1]["split"],
        "per_class": _per_class(published[-1]),
        "pictures": words["pictures"],
        "command": results["command"],
        "recipe": recipe_text(results["recipe"]),
        "limits": _wrapped(words["limits"]),
        "source": words["source"],
    }
    return model_card(
        _TEXT,
        values,
        [_result(found, results["dataset"], words) for found in published],
        model_name=name,
        library_name="evenfall",
        tags=["stream", "state-space-model", "torch_geometric", *words["tags"]],
        metrics=["accuracy"],
    )


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def _result(found: dict[str, Any], dataset: str, words: dict[str, Any]) -> dict[str, Any]:
    return {
        "task_type": words["task_type"],
        "task_name": words["task_name"],
        "dataset_type": dataset,
        "dataset_name": words["dataset"],
        "dataset_split": found["split"],
        "metric_type": "accuracy",
        "metric_value": round(100 * found["accuracy"], 2),
    }


def _summary(rows: list[dict[str, Any]]) -> str:
    return markdown_table(
        ("model", "parameters:", "split", "examples:", "seeds", "accuracy:"),
        [
            (row["model"], f"{row['parameters']:,}", row["split"], f"{row['examples']:,}",
             ", ".join(map(str, row["seeds"])), _score(row))
            for row in rows
        ],
    )  # fmt: skip


def _differences(found: dict[str, dict[str, Any]]) -> str:
    """A line for each baseline: what its recipe has otherwise."""
    return "\n".join(
        f"- {name}: the same recipe but for `{json.dumps(changed)}`"
        for name, changed in found.items()
        if changed
    )


def _score(row: dict[str, Any]) -> str:
    spread = "" if row["deviation"] is None else f" ± {100 * row['deviation']:.2f}"
    return f"{100 * row['accuracy']:.2f}{spread} %"


def _per_class(found: dict[str, Any]) -> str:
    classes = zip(found["class_accuracy"].items(), found["confusion"], strict=True)
    rows = [
        (name, f"{sum(row):,}", "-" if value is None else f"{100 * value:.1f} %")
        for (name, value), row in classes
    ]
    total = ("all", f"{found['examples']:,}", f"{100 * found['accuracy']:.2f} %")
    return markdown_table(("class", "examples:", "accuracy:"), [*rows, total])
