"""What a model of a study computes per token, in parts: first inputs, layers, decoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from evenfall.files import write_json
from evenfall.reading import read_json
from evenfall.runs import is_first_rank
from evenfall.trainers import ExampleLoader, Trainer

from ..measurement import measure
from ..measurement.result import Part

FILE = "counts.json"
PARTS: tuple[Part, ...] = get_args(Part)
LAYERS = tuple(part for part in PARTS if part != "decoder")


def count_model(
    trainer: Trainer, best: Path, folder: Path, data: str | Path, split: str
) -> dict[str, Any] | None:
    """Measure the model in `best` on an example of the split; `folder` keeps the result.

    Returns:
        tokens: of the example.
        macs: for each part of `measure` and in "total", the dense and effective operations per
            token.
        expected: total dense operations x density x activity, matrix by matrix.
        weights, density: number of the weights of all matrices but the decoder's, and the share of
            them that is not zero.
        activity: share of the units' outputs that are not zero.
        footprint: bytes of parameters and buffers as they are stored in training.
        None if the trainer offers no example.

    Raises:
        ValueError: a part of the model has no counter, so the count would be incomplete.
    """
    if not isinstance(trainer, ExampleLoader):
        return None
    file = folder / FILE
    weights = best / "model.safetensors"
    if file.is_file() and file.stat().st_mtime >= weights.stat().st_mtime:
        return read_json(file, "counts")
    counts = count_parts(*trainer.load_example(best, data, split))
    if is_first_rank():
        write_json(file, counts)
    return counts


def count_parts(model: Any, example: dict[str, Any]) -> dict[str, Any]:
    """The counts of one call; see `count_model`."""
    found = measure(model, example)
    if found.unknown or found.not_called:
        raise ValueError(
            f"model: the count is incomplete; without a counter: {found.unknown}, not called: "
            f"{[*found.not_called]}"
        )
    layers = [one for one in found.matrices if one.part in LAYERS]
    weights = sum(one.weights for one in layers)
    parts: dict[str, tuple[float, float]] = {part: found.part(part) for part in PARTS}
    parts["total"] = (
        sum(dense for dense, _ in parts.values()),
        sum(effective for _, effective in parts.values()),
    )
    sparsity = found.activation_sparsity
    return {
        "tokens": found.items,
        "macs": {
            part: {"dense": dense, "effective": effective}
            for part, (dense, effective) in parts.items()
        },
        "expected": found.expected,
        "weights": weights,
        "density": sum(one.nonzero for one in layers) / weights,
        "activity": 1.0 if sparsity is None else 1 - sparsity,
        "footprint": found.footprint,
    }
