"""Evaluation of a classifier: accuracy, accuracy by class, confusion matrix, loss and speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import Dataset
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from ..models.prediction import logits
from ..models.segmentation import StreamSegmenter
from .data import Examples, class_names, open_dataset
from .recipe import Recipe
from .segmentation import iou_scores, object_iou


def make_accelerator(mixed_precision: str | None = None) -> Accelerator:
    """Accelerate on this rank's GPU, or else on the CPU: kernels support no other device."""
    on_cpu = not (torch.cuda.is_available() or torch.xpu.is_available())
    return Accelerator(mixed_precision=mixed_precision, cpu=on_cpu)


@contextmanager
def main_first(accelerator: Accelerator) -> Iterator[None]:
    """Let the first rank of a machine run the block before the others, also if it fails.

    The others can use what it downloads or prepares.
    """
    if not accelerator.is_local_main_process:
        accelerator.wait_for_everyone()
    try:
        yield
    finally:
        if accelerator.is_local_main_process:
            accelerator.wait_for_everyone()


def open_split(recipe: Recipe, data: str | Path, split: str, accelerator: Accelerator) -> Dataset:
    """Open a split of the recipe's data set, on the first rank of each machine first."""
    with main_first(accelerator):
        return open_dataset(recipe.dataset, data, split, **recipe.dataset_options)


@torch.no_grad()
def evaluate(
    model: nn.Module,
    dataset: Dataset,
    *,
    batch_size: int = 32,
    num_workers: int = 0,
    transform: Callable[[Data], Data] | None = None,
    votes: int = 1,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    accelerator: Accelerator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Classify every example, in parallel over the ranks.

    Args:
        model: not wrapped by Accelerate; its mode does not change.
        dataset: of Data(pos=(N, D), y=(1,)), for events also x=(N, 1).
        batch_size: examples per call and rank.
        num_workers: processes that read examples.
        transform: applied to each example, with a seed that depends on `seed` and its index.
        votes: number of times that each example is transformed and classified; the probabilities
            are averaged.
        seed: of the transforms.
        classes: names of the classes; None for the data set's.
        accelerator: of the run; None for a new one.
        progress: called with (batches done, total).

    Returns:
        examples, accuracy, class_accuracy (name to accuracy, None without examples),
        mean_class_accuracy, confusion (rows: true class, columns: predicted class), loss (mean
        negative log-likelihood in nats), examples_per_second and points_per_second (of the model
        alone, on this rank). For a segmenter the counts, accuracies and loss are those of points;
        also class_iou and mean_iou, and object_mean_iou where the data set has
        `parts_of_categories`.

    Raises:
        ValueError: there are no examples, the number of classes differs from the model's, or a
            class is none of them; a segmenter with several ranks, whose numbers of points differ.
    """
    segments, parts = isinstance(model, StreamSegmenter), None
    if segments:
        parts = getattr(dataset, "parts_of_categories", None)
    if not len(dataset):
        raise ValueError("dataset has no examples")
    accelerator = accelerator or make_accelerator()
    names = list(classes) if classes is not None else class_names(dataset)
    was_training = model.training
    model.to(accelerator.device).eval()
    if segments and accelerator.num_processes > 1:
        raise ValueError("a segmenter is evaluated by one process, got several ranks")
    timer, total, objects = _Timer(accelerator.device), 0, [0.0] * 0
    probabilities, labels = torch.zeros(0), torch.zeros(0, dtype=torch.long)
    for vote in range(votes):
        examples = Examples(dataset, transform, seed + vote)
        loader = accelerator.prepare(
            DataLoader(examples, batch_size=batch_size, num_workers=num_workers)
        )
        batches = []
        for done, data in enumerate(loader, 1):
            data = data.to(accelerator.device)
            with accelerator.autocast(), timer.measure(data):
                out = logits(model, data)
            if out.shape[1] != len(names):
                raise ValueError(
                    f"the model has {out.shape[1]} classes, but the dataset has {len(names)}"
                )
            if parts is not None and vote == 0:
                objects += _object_ious(out, data, parts)
            softmax, y = out.double().softmax(-1), data.y
            if not segments:  # it cuts the last batch to its number of graphs
                softmax, y = accelerator.gather_for_metrics((softmax, y))
            batches.append((softmax.cpu(), y.cpu()))
            if progress is not None:
                progress(vote * len(loader) + done, votes * len(loader))
        softmax = torch.cat([one for one, _ in batches])
        probabilities = softmax if vote == 0 else probabilities + softmax
        labels = torch.cat([y for _, y in batches])
        total = len(labels)
    model.train(was_training)
    scores = _scores(probabilities / votes, labels, names)
    if segments:
        scores |= iou_scores(torch.tensor(scores["confusion"]), names)
    if objects:
        scores["object_mean_iou"] = sum(objects) / len(objects)
    return {
        "examples": total,
        **scores,
        "examples_per_second": timer.examples / timer.seconds,
        "points_per_second": timer.points / timer.seconds,
    }


def evaluate_recipe(
    model: nn.Module,
    recipe: Recipe,
    data: str | Path,
    split: str,
    *,
    accelerator: Accelerator | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Like `evaluate`, on a split of the recipe's data set, with its preparation and votes.

    Args:
        model: a classifier of the recipe's classes.
        recipe: names the data set.
        data: folder or file of the data set.
        split: one of its splits.
        accelerator: of the run; None for a new one.
        **options: batch_size, num_workers, progress.

    Raises:
        ValueError: the model's classes differ from the data set's.
    """
    accelerator = accelerator or make_accelerator()
    dataset = open_split(recipe, data, split, accelerator)
    classes, model_classes = class_names(dataset), getattr(model, "class_names", None)
    if model_classes is not None and model_classes != classes:
        raise ValueError(
            f"the model's classes {model_classes} differ from the dataset's {classes} "
            f"({recipe.dataset})"
        )
    return evaluate(
        model,
        dataset,
        transform=recipe.at_evaluation(),
        votes=recipe.votes,
        seed=recipe.seed,
        classes=classes,
        accelerator=accelerator,
        **options,
    )


def _object_ious(out: Tensor, data: Data, parts: Sequence[Sequence[int]]) -> list[float]:
    """The IoU of each object of a batch."""
    ends = data.ptr.tolist()
    return [
        object_iou(out[start:end], data.y[start:end], parts[category])
        for start, end, category in zip(ends, ends[1:], data.category.tolist(), strict=False)
    ]


def _scores(probabilities: Tensor, labels: Tensor, names: list[str]) -> dict[str, Any]:
    predicted = probabilities.argmax(1)
    count = len(names)
    if not 0 <= int(labels.min()) <= int(labels.max()) < count:
        raise ValueError(
            f"y must be classes from 0 to {count - 1}, got {int(labels.min())} to "
            f"{int(labels.max())}"
        )
    confusion = torch.bincount(labels * count + predicted, minlength=count * count)
    confusion = confusion.reshape(count, count)
    per_class = confusion.diag() / confusion.sum(1)  # NaN for a class without examples
    likelihood = probabilities.gather(1, labels[:, None]).clamp_min(1e-38)
    return {
        "accuracy": float((predicted == labels).double().mean()),
        "mean_class_accuracy": float(per_class.nanmean()),
        "class_accuracy": {
            name: None if value.isnan() else float(value)
            for name, value in zip(names, per_class, strict=True)
        },
        "confusion": confusion.tolist(),
        "loss": float(-likelihood.log().mean()),
    }


class _Timer:
    """Measures the model's time, and counts the examples and points of that time."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds, self.examples, self.points = 0.0, 0, 0

    def measure(self, data: Data) -> _Timer:
        self.examples += data.num_graphs
        self.points += data.num_nodes
        return self

    def __enter__(self) -> None:
        self._wait()
        self.start = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self._wait()
        self.seconds += time.perf_counter() - self.start

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
