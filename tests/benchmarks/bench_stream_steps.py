"""What the steps tell the published STREAM models: accuracy with others in their place.

    EVENFALL_DATA=FOLDER python tests/benchmarks/bench_stream_steps.py [--no-save]

FOLDER holds `modelnet10_1024pts` and `nmnist_small`. Models stay as they were trained, and so does
the order of points and events; only what the state decays over is replaced, on the validation
split of each model's own recipe.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from record import save, table
from torch import Tensor

from evenfall_stream import StreamConv
from evenfall_stream.models.loading import load_checkpoint
from evenfall_stream.training import checkpoint_recipe
from evenfall_stream.training.evaluation import evaluate_recipe

CARDS = Path(__file__).parents[2] / "hub_cards"
MODELS = {"stream-modelnet10-small": "modelnet10_1024pts", "stream-nmnist-small": "nmnist_small"}
CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "as measured": lambda step: step,
    "shuffled": lambda step: step[torch.randperm(len(step))],
    "their mean": lambda step: torch.full_like(step, float(step.mean())),
    "zero": torch.zeros_like,
}


@contextmanager
def steps(change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Inside, every StreamConv decays over changed steps."""
    plain = StreamConv._steps

    def changed(layer: StreamConv, step: Tensor) -> Tensor | None:
        found = plain(layer, step)
        return None if found is None else change(found)

    StreamConv._steps = changed
    try:
        yield
    finally:
        StreamConv._steps = plain


def measure(folder: Path, data: Path) -> list[dict[str, Any]]:
    """A row for each change."""
    model, recipe = load_checkpoint(folder, "cpu"), checkpoint_recipe(folder)
    rows = []
    for name, change in CHANGES.items():
        torch.manual_seed(0)
        with steps(change):
            found = evaluate_recipe(model, recipe, data, "valid")
        rows.append({
            "model": folder.name, "steps": name, "examples": found["examples"],
            "accuracy": found["accuracy"],
        })  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--no-save", action="store_true", help="do not write docs/benchmarks")
    arguments = parser.parse_args()
    data = os.environ.get("EVENFALL_DATA")
    if data is None:
        parser.exit(0, "not measured: EVENFALL_DATA names no folder with the data sets\n")
    rows = [
        row for name, part in MODELS.items() for row in measure(CARDS / name, Path(data) / part)
    ]
    table("STREAM with other steps, validation", rows)
    if not arguments.no_save:
        save(
            "stream_steps", rows,
            "EVENFALL_DATA=FOLDER python tests/benchmarks/bench_stream_steps.py",
            "Accuracy on the validation split that each published model was chosen by; the test "
            "split is not read. Shuffled: over the whole batch, seed 0.",
        )  # fmt: skip


if __name__ == "__main__":
    main()
