"""Data sets of images. Each is read from its folder; nothing is downloaded.

N samples, H rows, W columns, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evenfall.idx import read_idx
from evenfall.reading import read_arrays

from .source import Batch, Part, Source


@dataclass(frozen=True)
class Images:
    """Training and test images.

    Attributes:
        train, test: (N, C, H, W) float32, normalised.
        train_labels, test_labels: (N,) int64.
        classes: their number.
    """

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    classes: int


class ImageSource(Source):
    """Images in memory."""

    def __init__(self, images: Images) -> None:
        sizes = {"train": len(images.train), "test": len(images.test)}
        super().__init__(sizes, images.classes, shape=tuple(images.train.shape[1:]))
        self.images = images

    def read(self, part: Part, rows: Tensor) -> Batch:
        images = self.images
        if part == "train":
            return Batch((images.train[rows],), {}, images.train_labels[rows])
        return Batch((images.test[rows],), {}, images.test_labels[rows])

    def example(self) -> Tensor:
        return self.images.train[:2]


def open_images(name: str, folder: str | Path) -> Images:
    """Read the data set `name` from the folder of data sets, or from its own folder.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged.
    """
    folder = Path(folder)
    subfolder, reader = DATA[name]
    inner = folder / subfolder
    return reader(inner if inner.is_dir() else folder)


def _mnist(folder: Path) -> Images:
    parts = _mnist_arrays(folder)
    images = [torch.from_numpy(parts[i]).unsqueeze(1) for i in (0, 2)]
    labels = [torch.from_numpy(parts[i].astype(np.int64)) for i in (1, 3)]
    return Images(_grey(images[0]), labels[0], _grey(images[1]), labels[1], 10)


def _two_digits(folder: Path) -> Images:
    """Two digits side by side; the class is their sum modulo 10. 60,000 pairs of training digits
    drawn with seed 0, 10,000 of test digits drawn with seed 1."""
    parts = _mnist_arrays(folder)
    train, train_labels = _pairs(parts[0], parts[1], 60_000, 0)
    test, test_labels = _pairs(parts[2], parts[3], 10_000, 1)
    return Images(train, train_labels, test, test_labels, 10)


def _pairs(images: Any, labels: Any, count: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(images), (count, 2), generator=generator)
    digits = torch.from_numpy(images)
    sides = torch.cat([digits[chosen[:, 0]], digits[chosen[:, 1]]], 2)
    sums = torch.from_numpy(labels.astype(np.int64))[chosen].sum(1) % 10
    return _grey(sides.unsqueeze(1)), sums


def _grey(images: Tensor) -> Tensor:
    return (images.float() / 255 - 0.1307) / 0.3081  # mean and deviation of MNIST


def _mnist_arrays(folder: Path) -> list[Any]:
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return [read_idx(folder, f"{name}-ubyte") for name in names]


def _cifar10_subset(folder: Path) -> Images:
    (path,) = sorted(folder.glob("cifar10*.npz"))[:1] or [folder / "cifar10.npz"]
    try:
        arrays = read_arrays(path)
        parts = [arrays[key] for key in ("x_train", "y_train", "x_test", "y_test")]
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    mean = torch.tensor([0.4914, 0.4822, 0.4465]).reshape(3, 1, 1)
    deviation = torch.tensor([0.2470, 0.2435, 0.2616]).reshape(3, 1, 1)

    def images(values: Any) -> Tensor:
        return (torch.from_numpy(values).permute(0, 3, 1, 2).float() / 255 - mean) / deviation

    labels = [torch.from_numpy(parts[i].astype(np.int64)) for i in (1, 3)]
    return Images(images(parts[0]), labels[0], images(parts[2]), labels[1], 10)


DATA: dict[str, tuple[str, Callable[[Path], Images]]] = {
    "two-digits": ("mnist", _two_digits),
    "mnist": ("mnist", _mnist),
    "cifar10-subset": ("cifar10_subset", _cifar10_subset),
}
"""Data sets by name: the folder among data sets, and what reads it."""
