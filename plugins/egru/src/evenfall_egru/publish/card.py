"""The model card of a published checkpoint; every figure in it comes from results.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from evenfall.hub import card_text, hub_split

_DATASET = ("Penn Treebank, words (Mikolov's preprocessing)", "ptb-text-only/ptb_text_only")
_PAPER = "https://arxiv.org/abs/2206.06178"
_TEXT = (Path(__file__).parent / "data" / "card.md").read_text(encoding="utf-8")


def make_card(results: dict[str, Any]) -> ModelCard:
    """The card as huggingface_hub's ModelCard, with the results as evaluation metadata."""
    name, evaluations = results["checkpoint"], results["evaluations"]
    data = ModelCardData(
        model_name=name,
        language="en",
        license="apache-2.0",
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["egru", "event-based", "activity-sparsity", "recurrent"],
        metrics=["perplexity"],
        eval_results=[_result(one) for one in evaluations],
    )
    full = next(e for e in evaluations if e["split"] == "test" and e["carry"] == "full")
    model, training = results["model"], results["training"]
    values = {
        "name": name,
        "layers": ", then ".join(str(units) for units in model["hidden_sizes"]),
        "embedding": model["embedding_size"],
        "vocabulary": f"{model['vocab_size']:,}",
        "parameters": f"{model['parameters']:,}",
        "megabytes": f"{model['weights_bytes'] / 1e6:.1f}",
        "dtype": model["weights_dtype"],
        "scores": _scores(evaluations),
        "activity": _activity(full, model["hidden_sizes"]),
        "effective": f"{full['macs']['effective'] / 1e6:.2f}",
        "dense": f"{full['macs']['dense'] / 1e6:.2f}",
        "ratio": f"{full['macs']['ratio']:.1f}",
        "training": _training(training),
        "recipe": yaml.safe_dump(training["recipe"], sort_keys=False).strip(),
        "seed": training["recipe"].get("seed", 0),
        "command": results["command"],
        "paper": _PAPER,
    }
    return ModelCard(card_text(data.to_yaml(), _TEXT.format(**values)))


def _result(evaluation: dict[str, Any]) -> EvalResult:
    return EvalResult(
        task_type="text-generation",
        task_name="Language modelling",
        dataset_type=_DATASET[1],
        dataset_name=_DATASET[0],
        dataset_split=hub_split(evaluation["split"]),
        metric_type="perplexity",
        metric_name=f"perplexity per word, {evaluation['protocol']}",
        metric_value=round(evaluation["perplexity"], 2),
    )


def _scores(evaluations: list[dict[str, Any]]) -> str:
    rows = [
        f"| {e['split']} | {e['protocol']} | {e['tokens']:,} | {e['perplexity']:.2f} | "
        f"{100 * e['mean_activity']:.1f} % |"
        for e in evaluations
    ]
    head = "| split | protocol | words | perplexity | activity |\n|---|---|---:|---:|---:|"
    return "\n".join([head, *rows])


def _activity(evaluation: dict[str, Any], sizes: list[int]) -> str:
    rows = [
        f"| {index} | {units} | {100 * rate:.1f} % |"
        for index, (units, rate) in enumerate(zip(sizes, evaluation["activity"], strict=True), 1)
    ]
    return "\n".join(["| layer | units | activity |\n|---:|---:|---:|", *rows])


def _training(training: dict[str, Any]) -> str:
    steps = [
        f"{label} {training[key]:,}"
        for key, label in (("steps", "Steps run:"), ("best_step", "step kept, best on validation:"))
        if key in training
    ]
    counted = "; ".join(steps) + "." if steps else "The number of steps was not recorded."
    return f"{counted} {training['note']}" if "note" in training else counted
