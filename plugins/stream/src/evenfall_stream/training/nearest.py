"""What a nearest neighbour reaches: a model that does not beat it has learned little.

N points or events   D coordinates
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist
from torch.utils.data import Dataset

from .data import Examples
from .recipe import Recipe

_MOST_TRAINING, _MOST_VALIDATION = 2_000, 1_000
_SIDE = 64
"""Most bins along a side of a count image."""
_FRAMES = 20
"""Bins of time for sensors with one coordinate."""
_PAIRS, _BINS = 4_096, 32


class Neighbour(NamedTuple):
    """The result.

    Attributes:
        features: what is compared.
        accuracy: on the validation examples.
        training: number of training examples.
        validation: number of validation examples.
    """

    features: str
    accuracy: float
    training: int
    validation: int

    def __str__(self) -> str:
        return (
            f"nearest neighbour on {self.features}: valid_accuracy {self.accuracy:.4g} "
            f"({self.training:,} training, {self.validation:,} validation examples)"
        )


def nearest_neighbour(recipe: Recipe, training: Dataset, validation: Dataset) -> Neighbour:
    """Classify validation examples as the nearest training example, after the preparation.

    Recordings of a camera are compared by the number of events at each pixel, shifted to the
    centre; of one coordinate, by the number in each channel and twentieth of the duration; both as
    square roots, scaled to norm 1. Clouds are compared by the histogram of distances between
    random pairs of points (Osada et al., Shape Distributions, 2002) and the standard deviation
    along each axis. Of more than 2,000 training or 1,000 validation examples, so many at equal
    distances are taken.
    """
    size: Sequence[int] = recipe.model_options.get("sensor_size", ())
    if recipe.task == "points":
        name = "distances of pairs of points"
    else:
        name = "centred count images" if len(size) > 1 else "counts by channel and time"
    features, labels = zip(
        _features(recipe, training, size, _MOST_TRAINING),
        _features(recipe, validation, size, _MOST_VALIDATION),
        strict=True,
    )
    nearest = cdist(features[1], features[0], "sqeuclidean").argmin(1)
    accuracy = float((labels[0][nearest] == labels[1]).mean())
    return Neighbour(name, accuracy, len(labels[0]), len(labels[1]))


def _features(
    recipe: Recipe, dataset: Dataset, size: Sequence[int], most: int
) -> tuple[np.ndarray, np.ndarray]:
    examples = Examples(dataset, recipe.prepared(), recipe.seed)
    step = max(1, -(-len(examples) // most))
    rows, labels = [], []
    for index in range(0, len(examples), step):
        data = examples[index]
        pos = data.pos.double().cpu().numpy()
        rows.append(_shape(pos) if recipe.task == "points" else _counts(pos, size))
        labels.append(int(data.y))
    return np.array(rows), np.array(labels)


def _counts(pos: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """(N, 1 + k) events to the square roots of counts, of norm 1."""
    if len(size) == 1:
        values = pos[:, [1, 0]]
        ranges = [(0.0, float(size[0])), (0.0, max(float(pos[:, 0].max(initial=0)), 1e-9))]
        bins = [min(size[0], _SIDE), _FRAMES]
    else:
        middle = (np.array(size) - 1) / 2
        centre = pos[:, 1:].mean(0) if len(pos) else middle
        values = pos[:, 1:] + np.round(middle - centre)
        ranges = [(-0.5, side - 0.5) for side in size]
        bins = [min(side, _SIDE) for side in size]
    counts = np.sqrt(np.histogramdd(values, bins, ranges)[0].ravel())
    return np.asarray(counts / max(float(np.linalg.norm(counts)), 1e-9))


def _shape(pos: np.ndarray) -> np.ndarray:
    """(N, D) points to a histogram of distances and D standard deviations, scaled to the size."""
    if not len(pos):
        return np.zeros(_BINS + pos.shape[1])
    pairs = pos[np.random.default_rng(0).integers(0, len(pos), (2, _PAIRS))]
    distances = np.linalg.norm(pairs[0] - pairs[1], axis=1)
    scale = max(float(distances.max()), 1e-9)
    histogram = np.histogram(distances / scale, _BINS, (0, 1))[0] / _PAIRS
    return np.concatenate([np.sqrt(histogram), pos.std(0) / scale])
