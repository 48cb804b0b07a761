"""The pictures of an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch_geometric.data import Batch, Data

from evenfall.pictures import draw_classes, draw_confusion

from ..models.classifier import StreamClassifier
from ..models.prediction import logits
from ..models.segmentation import StreamSegmenter
from ..training.data import Examples, open_dataset
from ..training.recipe import Recipe
from .influence import class_influence, draw_influence, point_influence
from .segments import draw_segments


def draw_evaluation(
    result: dict[str, Any],
    model: nn.Module,
    recipe: Recipe,
    data: str | Path,
    split: str,
    folder: str | Path,
) -> list[Path]:
    """Write confusion.png and classes.png, and for clouds a third picture; return their paths.

    Of a classifier of point clouds, influence.png shows the influence on the class and on the
    highest point of the split's first cloud; of a segmenter, segments.png shows that cloud's true
    and predicted classes.

    Args:
        result: of the evaluation.
        model: the classifier or segmenter.
        recipe: names the data set.
        data: folder or file of the data set.
        split: one of its splits.
        folder: of the pictures.

    Raises:
        ImportError: matplotlib is not installed.
    """
    folder = Path(folder)
    pictures = [
        draw_confusion(result, folder / "confusion.png"),
        draw_classes(result, folder / "classes.png"),
    ]
    if isinstance(model, (StreamClassifier, StreamSegmenter)):
        dataset = open_dataset(recipe.dataset, data, split, **recipe.dataset_options)
        cloud = Examples(dataset, recipe.at_evaluation(), recipe.seed)[0]
        cloud = cloud.to(next(model.parameters()).device)
        draw = _draw_cloud if isinstance(model, StreamClassifier) else _draw_points
        pictures.append(draw(model, cloud, list(result["class_accuracy"]), folder))
    return pictures


def _draw_cloud(model: Any, cloud: Data, classes: list[str], folder: Path) -> Path:
    target, highest = int(cloud.y), int(cloud.pos[:, -1].argmax())
    panels = {
        f"influence on class {classes[target]}": (class_influence(model, cloud, target), None),
        "influence on the marked point": (point_influence(model, cloud, highest), highest),
    }
    return draw_influence(cloud.pos, panels, folder / "influence.png")


def _draw_points(model: Any, cloud: Data, classes: list[str], folder: Path) -> Path:
    with torch.no_grad():
        found = logits(model, Batch.from_data_list([cloud])).argmax(1)
    panels = {"true": cloud.y.cpu(), "predicted": found.cpu()}
    return draw_segments(cloud.pos.cpu(), panels, classes, folder / "segments.png")
