"""What a model of a study computes per token, in parts: first inputs, layers, decoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evenfall.counting import Operations, count_operations, list_matrices
from evenfall.files import write_text
from evenfall.runs import is_first_rank
from evenfall.trainers import ExampleLoader, Trainer

FILE = "counts.json"
PARTS = ("input", "layers", "decoder")


def count_model(
    trainer: Trainer, best: Path, folder: Path, data: str | Path, split: str
) -> dict[str, Any] | None:
    """Count the model in `best` on an example of the split; `folder` keeps the result.

    Returns:
        tokens: of the example.
        macs: for "input" (the matrix that reads the embedding), "layers" (the other matrices),
            "decoder" and "total", the dense and effective operations per token. Effective MACs
            are sums over the rows that fired, not activity times density.
        density: share of the weights of input and layers that are not zero.
        activity: share of the inputs of these layers that are not zero.
        weights: number of weights of input and layers.
        None if the trainer offers no example.

    Raises:
        ValueError: a part of the model has no counter, so the count would be incomplete.
    """
    if not isinstance(trainer, ExampleLoader):
        return None
    file = folder / FILE
    weights = best / "model.safetensors"
    if file.is_file() and file.stat().st_mtime >= weights.stat().st_mtime:
        stored: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return stored
    counts = count_parts(*trainer.load_example(best, data, split))
    if is_first_rank():
        write_text(file, json.dumps(counts, indent=2) + "\n")
    return counts


def count_parts(model: Any, example: dict[str, Any]) -> dict[str, Any]:
    """The counts of one call; see `count_model`."""
    tokens = example["input_ids"].numel()
    count = count_operations(model, **example)
    if count.unknown or count.not_called:
        raise ValueError(
            f"model: the count is incomplete; without a counter: {count.unknown}, not called: "
            f"{[*count.not_called]}"
        )
    decoder = model.get_output_embeddings()
    placed = {one.name: one for one in list_matrices(model) if one.matrix.role != "lookup"}
    names = {id(module): name for name, module in model.named_modules()}
    layers = [name for name, one in placed.items() if one.module != names[id(decoder)]]
    sums = dict.fromkeys((*PARTS, "total"), Operations())
    read = possible = 0
    for name, products in count.products.items():
        part = "decoder" if name not in layers else "input" if name == layers[0] else "layers"
        for product in products:
            sums[part] += product.operations
            sums["total"] += product.operations
            if part == "layers" and product.active is not None:
                read += int(product.active.sum())
                possible += product.rows * len(product.active)
    sizes = [placed[name].weight.numel() for name in layers]
    nonzero = sum(int((placed[name].weight != 0).sum()) for name in layers)
    return {
        "tokens": tokens,
        "macs": {part: _per_token(one, tokens) for part, one in sums.items()},
        "weights": sum(sizes),
        "density": nonzero / sum(sizes),
        "activity": read / possible if possible else 1.0,
    }


def _per_token(operations: Operations, tokens: int) -> dict[str, float]:
    effective = operations.effective_macs + operations.effective_acs
    return {"dense": operations.dense_macs / tokens, "effective": effective / tokens}
