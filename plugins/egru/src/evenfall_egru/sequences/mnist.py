"""MNIST as sequences: each image is read row by row, some pixels per step.

Dimensions: N images, T steps, F pixels per step, T F = 784.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from evenfall.checks import check_choice
from evenfall.errors import shorten
from evenfall.idx import read_idx

_FILES = {"train": "train", "valid": "train", "train+valid": "train", "test": "t10k"}
_VALID = 5000
"""Images at the end of the training file that form `valid`."""
_PIXELS = 784


class Mnist:
    """One split of MNIST in memory.

    Attributes:
        classes: the digits.
        images: (N, 784) uint8, row by row.
        labels: (N,) int64.
        pixels: F.
    """

    classes = tuple("0123456789")

    def __init__(self, images: np.ndarray, labels: np.ndarray, pixels: int) -> None:
        self.images, self.labels, self.pixels = images, labels, pixels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """x (T, F) float32 in [0, 1] and label, int64 of shape ()."""
        frames = self.images[index].reshape(-1, self.pixels).astype(np.float32) / np.float32(255)
        return {"x": frames, "label": self.labels[index]}


def read_mnist(path: str | Path, split: str, *, pixels: int = 28) -> Mnist:
    """Open one split of MNIST as sequences of `pixels` pixels per step.

    `valid` is the last 5,000 images of the training file, `train` the first 55,000,
    `train+valid` all of them, and `test` the test file.

    Args:
        path: folder with the four files as published, with or without `.gz`.
        split: "train", "valid", "train+valid" or "test".
        pixels: F, a divisor of 784: 28 reads one row per step, 1 one pixel.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: another split, `pixels` not a divisor of 784, or a damaged or too large file.

    Source: LeCun et al., Gradient-based learning applied to document recognition, 1998.
    """
    check_choice("split", split, _FILES)
    if isinstance(pixels, bool) or not isinstance(pixels, int) or pixels < 1 or _PIXELS % pixels:
        raise ValueError(f"pixels must be a divisor of {_PIXELS}, got {shorten(pixels)}")
    name = _FILES[split]
    images = _read(Path(path), f"{name}-images-idx3-ubyte", (28, 28)).reshape(-1, _PIXELS)
    labels: np.ndarray = _read(Path(path), f"{name}-labels-idx1-ubyte", ()).astype(np.int64)
    if len(images) != len(labels):
        raise ValueError(f"{path}: {len(images)} images and {len(labels)} labels do not match")
    least = _VALID + 1 if name == "train" else 1
    if len(images) < least:
        raise ValueError(
            f"{path}: the {name} file must have at least {least} images, got {len(images)}"
        )
    if labels.size and labels.max() > 9:
        raise ValueError(f"{path}: labels must be 0 to 9, got {labels.max()}")
    rows = {"train": slice(None, -_VALID), "valid": slice(-_VALID, None)}.get(split, slice(None))
    return Mnist(images[rows], labels[rows], pixels)


def _read(folder: Path, name: str, shape: tuple[int, ...]) -> np.ndarray:
    array = read_idx(folder, name)
    if array.shape[1:] != shape:
        wanted = ", ".join(["N", *map(str, shape)])
        raise ValueError(f"data: {name} in {folder} must have shape ({wanted}), got {array.shape}")
    return array
