"""What the results and the card say of a pruned model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evenfall import registry
from evenfall.hub import RESULTS, markdown_table
from evenfall.reading import read_json

from ..models.modeling_egru import EgruForCausalLM

_FEWEST = 0.01
"""A model with a smaller share of zero weights is not pruned; bfloat16 rounds no weight to zero."""


def pruning_of(model: EgruForCausalLM, start: str | None) -> dict[str, Any]:
    """The share of zeros in each matrix of the layers, and the results of the dense model.

    Args:
        model: the model.
        start: the checkpoint that the training began with: a folder, or a registered name.

    Returns:
        {"pruning": ...} for a pruned model, otherwise {}.
    """
    matrices = {
        name.removeprefix("model."): parameter
        for name, parameter in model.named_parameters()
        if ".layers." in name and parameter.dim() == 2
    }
    rows = [
        {"matrix": name, "weights": one.numel(), "removed": float((one == 0).double().mean())}
        for name, one in matrices.items()
    ]
    total = sum(row["weights"] for row in rows)
    removed = sum(row["weights"] * row["removed"] for row in rows) / total if total else 0.0
    if removed < _FEWEST:
        return {}
    pruning = {"matrices": rows, "weights": total, "removed": removed}
    dense = None if start is None else _dense(start)
    return {"pruning": pruning if dense is None else {**pruning, "dense": dense}}


def _dense(start: str) -> dict[str, Any] | None:
    """Name and evaluations of the checkpoint that was pruned; None if they are not known."""
    folder = Path(start)
    if not folder.exists() and start in registry.checkpoints:
        try:
            folder = registry.checkpoints.get(start).find()
        except FileNotFoundError:  # outside of a checkout
            return None
    if not (folder / RESULTS).is_file():
        return None
    results = read_json(folder / RESULTS)
    return {"checkpoint": results["checkpoint"], "evaluations": results["evaluations"]}


def pruning_text(results: dict[str, Any]) -> str:
    """The section of the card; empty for a model that is not pruned."""
    pruning = results.get("pruning")
    if pruning is None:
        return ""
    rows = [
        (row["matrix"], f"{row['weights']:,}", f"{100 * row['removed']:.1f} %")
        for row in pruning["matrices"]
    ]
    text = (
        "\n## Pruning\n\n"
        f"{100 * pruning['removed']:.1f} % of the {pruning['weights']:,} weights of the layers are "
        "removed: they are zero.\nEmbedding and decoder are dense.\n\n"
        f"{markdown_table(('matrix', 'weights:', 'removed:'), rows)}\n"
    )
    if "dense" not in pruning:
        return text
    models = {
        pruning["dense"]["checkpoint"]: pruning["dense"]["evaluations"],
        results["checkpoint"]: results["evaluations"],
    }
    compared = [
        (
            name,
            f"{_full(evaluations, 'valid')['perplexity']:.2f}",
            f"{_full(evaluations, 'test')['perplexity']:.2f}",
            f"{100 * _full(evaluations, 'test')['mean_activity']:.1f} %",
            f"{_full(evaluations, 'test')['macs']['effective'] / 1e6:.2f} million",
        )
        for name, evaluations in models.items()
    ]
    headings = ("model", "valid:", "test:", "activity:", "effective multiply-accumulates:")
    return (
        f"{text}\nBeside the dense model it was pruned from, with full carry:\n\n"
        f"{markdown_table(headings, compared)}\n\n"
        "`evenfall sparsity compress` stores it without its zeros and runs it faster.\n"
        "`docs/sparsity-study.md` of Evenfall has other shares and ways of pruning.\n"
    )


def _full(evaluations: list[dict[str, Any]], split: str) -> dict[str, Any]:
    return next(e for e in evaluations if e["split"] == split and e["carry"] == "full")
