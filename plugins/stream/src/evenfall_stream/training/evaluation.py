"""How well a model classifies: accuracy, by class, confusion, loss and speed."""

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
from .data import Examples, class_names, open_dataset
from .recipe import Recipe


def make_accelerator(mixed_precision: str | None = None) -> Accelerator:
    """Accelerate on this rank's GPU, or on the CPU: no kernel serves other devices."""
    on_cpu = not (torch.cuda.is_available() or torch.xpu.is_available())
    return Accelerator(mixed_precision=mixed_precision, cpu=on_cpu)


@contextmanager
def main_first(accelerator: Accelerator) -> Iterator[None]:
    """The first rank of a machine passes the block before the others, also where it fails there.

    What it downloads or prepares, the others find.
    """
    if not accelerator.is_local_main_process:
        accelerator.wait_for_everyone()
    try:
        yield
    finally:
        if accelerator.is_local_main_process:
            accelerator.wait_for_everyone()


def open_split(recipe: Recipe, data: str | Path, split: str, accelerator: Accelerator) -> Dataset:
    """A split of the recipe's data set, opened by one rank of a machine first."""
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
    """Classify every example once, spread over the ranks where there are several.

    Args:
        model: not wrapped by Accelerate; left in the mode it was in.
        dataset: of Data(pos=(N, D), y=(1,)), for events also x=(N, 1).
        batch_size: examples a call and rank.
        num_workers: processes that read.
        transform: applied to each example, with a seed that depends on `seed` and its index.
        votes: how often each example is transformed and classified anew; the probabilities are
            averaged.
        seed: of the transforms.
        classes: names; the data set's where None.
        accelerator: of the run; a new one where None.
        progress: called with (batches done, in all).

    Returns:
        examples, accuracy, class_accuracy (name to accuracy, None without examples),
        mean_class_accuracy, confusion (rows: the true class, columns: the predicted), loss (mean
        negative log-likelihood in nats), examples_per_second and points_per_second (of the model
        alone, on this rank).

    Raises:
        ValueError: no examples, or other classes than the model's.
    """
    if not len(dataset):
        raise ValueError("dataset has no examples")
    accelerator = accelerator or make_accelerator()
    names = list(classes) if classes is not None else class_names(dataset)
    was_training = model.training
    model.to(accelerator.device).eval()
    clock, total = _Clock(accelerator.device), 0
    probabilities, labels = torch.zeros(0), torch.zeros(0, dtype=torch.long)
    for vote in range(votes):
        examples = Examples(dataset, transform, seed + vote)
        loader = accelerator.prepare(
            DataLoader(examples, batch_size=batch_size, num_workers=num_workers)
        )
        found = []
        for done, data in enumerate(loader, 1):
            data = data.to(accelerator.device)
            with accelerator.autocast(), clock.measure(data):
                out = logits(model, data)
            if out.shape[1] != len(names):
                raise ValueError(
                    f"model tells {out.shape[1]} classes apart, the data set has {len(names)}"
                )
            chances, y = accelerator.gather_for_metrics((out.double().softmax(-1), data.y))
            found.append((chances.cpu(), y.cpu()))
            if progress is not None:
                progress(vote * len(loader) + done, votes * len(loader))
        chances = torch.cat([one for one, _ in found])
        probabilities = chances if vote == 0 else probabilities + chances
        labels = torch.cat([y for _, y in found])
        total = len(labels)
    model.train(was_training)
    return {
        "examples": total,
        **_scores(probabilities / votes, labels, names),
        "examples_per_second": clock.examples / clock.seconds,
        "points_per_second": clock.points / clock.seconds,
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
    """As evaluate, on a split of the recipe's data set, with its preparation and votes.

    Args:
        model: a classifier of the recipe's classes.
        recipe: where the data set is stated.
        data: folder or file of the data set.
        split: which of its splits.
        accelerator: of the run; a new one where None.
        **options: batch_size, num_workers, progress.

    Raises:
        ValueError: the model has other classes than the data set.
    """
    accelerator = accelerator or make_accelerator()
    dataset = open_split(recipe, data, split, accelerator)
    given, known = class_names(dataset), getattr(model, "class_names", None)
    if known is not None and known != given:
        raise ValueError(f"model knows the classes {known}, {recipe.dataset} has {given}")
    return evaluate(
        model,
        dataset,
        transform=recipe.at_evaluation(),
        votes=recipe.votes,
        seed=recipe.seed,
        classes=given,
        accelerator=accelerator,
        **options,
    )


def _scores(probabilities: Tensor, labels: Tensor, names: list[str]) -> dict[str, Any]:
    predicted = probabilities.argmax(1)
    count = len(names)
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


class _Clock:
    """Seconds that the model took, and what it read in them."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds, self.examples, self.points = 0.0, 0, 0

    def measure(self, data: Data) -> _Clock:
        self.examples += data.num_graphs
        self.points += data.num_nodes
        return self

    def __enter__(self) -> None:
        self._wait()
        self.begun = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self._wait()
        self.seconds += time.perf_counter() - self.begun

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
