"""What the steps tell the published STREAM models: accuracy with others in their place.

    EVENFALL_DATA=FOLDER python tests/benchmarks/stream_steps.py [--no-save]

FOLDER holds `modelnet10_1024pts` and `nmnist_small`. Models stay as they were trained, and so does
the order of points and events; only what the state decays over is replaced, on the validation
split of each model's own recipe.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from layout import key, table
from record import Record, Rows
from script import command_of, finish, parser
from torch import Tensor

from evenfall_stream import StreamConv
from evenfall_stream.models.loading import load_checkpoint
from evenfall_stream.training import checkpoint_recipe
from evenfall_stream.training.evaluation import evaluate_recipe

TITLE = "STREAM with other steps"
ABOUT = (
    "The published models as they were trained, the order of points and events kept, with other "
    "distances for the state to decay over: how much of what they know they read off the steps."
)
NOTES = (
    "Accuracy on the validation split that each published model was chosen by; the test split is "
    "not read. Shuffled: over the whole batch, seed 0."
)
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


def measure(folder: Path, data: Path) -> Rows:
    """A row for each change."""
    model, recipe = load_checkpoint(folder, "cpu"), checkpoint_recipe(folder)
    rows: Rows = []
    for name, change in CHANGES.items():
        torch.manual_seed(0)
        with steps(change):
            found = evaluate_recipe(model, recipe, data, "valid")
        rows.append({
            "model": folder.name, "steps": name, "examples": found["examples"],
            "accuracy": found["accuracy"],
        })  # fmt: skip
    return rows


def tables(record: Record) -> str:
    columns = {
        "Model": lambda row: f"`{row['model']}`",
        "Steps": key("steps"),
        "Validation accuracy": lambda row: f"{100 * row['accuracy']:.2f} %",
        "Examples": key("examples"),
    }
    return table(columns, record["rows"])


def main() -> None:
    options = parser(__doc__).parse_args()
    data = os.environ.get("EVENFALL_DATA")
    if data is None:
        print("not measured: set EVENFALL_DATA to the folder with the data sets")
        return
    rows = [
        row for name, part in MODELS.items() for row in measure(CARDS / name, Path(data) / part)
    ]
    finish(
        "stream_steps", rows, options, NOTES, f"EVENFALL_DATA=FOLDER {command_of('stream_steps')}"
    )


if __name__ == "__main__":
    main()
