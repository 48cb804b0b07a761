"""The model card of a published checkpoint. Every figure comes from results.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard

from evenfall.hub import markdown_table, model_card, recipe_text

from .packing import training_text
from .pruning import pruning_text

_DATASET = ("Penn Treebank, words (Mikolov's preprocessing)", "ptb-text-only/ptb_text_only")
PAPER = "https://arxiv.org/abs/2206.06178"
_TEXT = (Path(__file__).parent / "data" / "card.md").read_text(encoding="utf-8")


def make_card(results: dict[str, Any]) -> ModelCard:
    """Make the card, with the results as evaluation metadata."""
    name, evaluations = results["checkpoint"], results["evaluations"]
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
        "activity": activity_table(full["activity"], model["hidden_sizes"]),
        "effective": f"{full['macs']['effective'] / 1e6:.2f}",
        "dense": f"{full['macs']['dense'] / 1e6:.2f}",
        "ratio": f"{full['macs']['ratio']:.1f}",
        "pruning": pruning_text(results),
        "training": training_text(training),
        "recipe": recipe_text(training["recipe"]),
        "seed": training["recipe"].get("seed", 0),
        "command": results["command"],
        "paper": PAPER,
    }
    return model_card(
        _TEXT,
        values,
        [_result(one) for one in evaluations],
        model_name=name,
        language="en",
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=[
            *("egru", "event-based", "activity-sparsity", "recurrent"),
            *(["pruned"] if "pruning" in results else []),
        ],
        metrics=["perplexity"],
    )


def _result(evaluation: dict[str, Any]) -> dict[str, Any]:
    return {
        "task_type": "text-generation",
        "task_name": "Language modelling",
        "dataset_type": _DATASET[1],
        "dataset_name": _DATASET[0],
        "dataset_split": evaluation["split"],
        "metric_type": "perplexity",
        "metric_name": f"perplexity per word, {evaluation['protocol']}",
        "metric_value": round(evaluation["perplexity"], 2),
    }


def _scores(evaluations: list[dict[str, Any]]) -> str:
    return markdown_table(
        ("split", "protocol", "words:", "perplexity:", "activity:"),
        [
            (e["split"], e["protocol"], f"{e['tokens']:,}", f"{e['perplexity']:.2f}",
             f"{100 * e['mean_activity']:.1f} %")
            for e in evaluations
        ],
    )  # fmt: skip


def activity_table(rates: list[float], sizes: list[int]) -> str:
    """A table of the layers: units, and the share of them that fires."""
    layers = enumerate(zip(sizes, rates, strict=True), 1)
    return markdown_table(
        ("layer:", "units:", "activity:"),
        [(i, units, f"{100 * rate:.1f} %") for i, (units, rate) in layers],
    )
