"""What heading, density and missing halves do to the published point cloud model.

    EVENFALL_DATA=FOLDER python tests/benchmarks/stream_robustness.py [--no-save]

FOLDER holds `modelnet10_1024pts`. The model stays as it was trained; each test cloud is changed and
then centred and scaled to the unit sphere again.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import torch
from layout import key, table
from record import Record, Rows
from script import command_of, finish, parser
from torch import Tensor
from torch_geometric.data import Data

from evenfall_stream.models.loading import load_checkpoint
from evenfall_stream.training import checkpoint_recipe
from evenfall_stream.training.data import open_dataset
from evenfall_stream.training.evaluation import evaluate
from evenfall_stream.transforms import NormalizeSphere

TITLE = "STREAM on other clouds"
ABOUT = (
    "The published ModelNet10 model on clouds that it was not trained for: turned about the "
    "vertical axis, with fewer points, or with one half missing."
)
NOTES = (
    "Accuracy on the 908 test clouds, each changed and then centred and scaled again; no choice "
    "depends on it. Random points are drawn with the index of the cloud as seed. A half has the "
    "points below the median along an axis; z is vertical."
)
CARD = Path(__file__).parents[2] / "hub_cards" / "stream-modelnet10-small"
UP = 2
"""The vertical axis of ModelNet10."""


def turned(degrees: float) -> Callable[[Tensor], Tensor]:
    """About the vertical axis."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))

    def change(pos: Tensor) -> Tensor:
        x, y, z = pos.unbind(1)
        return torch.stack([cos * x - sin * y, sin * x + cos * y, z], 1)

    return change


def fewer(points: int) -> Callable[[Tensor], Tensor]:
    """A random choice of points."""
    return lambda pos: pos[torch.randperm(len(pos))[:points]]


def half(axis: int) -> Callable[[Tensor], Tensor]:
    """The half with the lower coordinates."""
    return lambda pos: pos[pos[:, axis] <= pos[:, axis].median()]


CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "as in training": lambda pos: pos,
    **{f"turned by {degrees}°": turned(degrees) for degrees in (15, 45, 90, 180)},
    **{f"{points} points": fewer(points) for points in (512, 256, 128)},
    **{f"half along {'xyz'[axis]}": half(axis) for axis in range(3)},
}


def changed(change: Callable[[Tensor], Tensor]) -> Callable[[Data], Data]:
    """The change as a transform of examples."""
    scale = NormalizeSphere()

    def transform(data: Data) -> Data:
        return scale(Data(pos=change(data.pos), y=data.y))

    return transform


def measure(data: Path) -> Rows:
    """A row for each change."""
    model, recipe = load_checkpoint(CARD, "cpu"), checkpoint_recipe(CARD)
    clouds = open_dataset(recipe.dataset, data, "test", **recipe.dataset_options)
    rows: Rows = []
    for name, change in CHANGES.items():
        found = evaluate(model, clouds, transform=changed(change))
        rows.append({
            "model": CARD.name, "clouds": name, "examples": found["examples"],
            "accuracy": found["accuracy"], "class_accuracy": found["class_accuracy"],
        })  # fmt: skip
    return rows


def tables(record: Record) -> str:
    columns = {
        "Model": lambda row: f"`{row['model']}`",
        "Clouds": key("clouds"),
        "Test accuracy": lambda row: f"{100 * row['accuracy']:.1f} %",
    }
    return table(columns, record["rows"])


def main() -> None:
    options = parser(__doc__).parse_args()
    data = os.environ.get("EVENFALL_DATA")
    if data is None:
        print("not measured: set EVENFALL_DATA to the folder with the data sets")
        return
    finish(
        "stream_robustness", measure(Path(data) / "modelnet10_1024pts"), options, NOTES,
        f"EVENFALL_DATA=FOLDER {command_of('stream_robustness')}",
    )  # fmt: skip


if __name__ == "__main__":
    main()
