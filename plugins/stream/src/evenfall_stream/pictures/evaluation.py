"""The pictures of an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from ..models.classifier import StreamClassifier
from ..training.data import Examples, open_dataset
from ..training.recipe import Recipe
from .charts import draw_classes, draw_confusion
from .influence import class_influence, draw_influence, point_influence


def draw_evaluation(
    result: dict[str, Any],
    model: nn.Module,
    recipe: Recipe,
    data: str | Path,
    split: str,
    folder: str | Path,
) -> list[Path]:
    """Write confusion.png and classes.png, and for point clouds influence.png; return their paths.

    influence.png shows the influence on the class and on the highest point of the split's first
    cloud.

    Args:
        result: of the evaluation.
        model: the classifier.
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
    if isinstance(model, StreamClassifier):
        dataset = open_dataset(recipe.dataset, data, split, **recipe.dataset_options)
        cloud = Examples(dataset, recipe.at_evaluation(), recipe.seed)[0]
        cloud = cloud.to(next(model.parameters()).device)
        name = list(result["class_accuracy"])[int(cloud.y)]
        highest = int(cloud.pos[:, -1].argmax())
        panels = {
            f"influence on class {name}": (class_influence(model, cloud, int(cloud.y)), None),
            "influence on the marked point": (point_influence(model, cloud, highest), highest),
        }
        pictures.append(draw_influence(cloud.pos, panels, folder / "influence.png"))
    return pictures
