"""Small models and batches that the tests share."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def make_stack() -> Callable[..., nn.Sequential]:
    """A stack of layers of 6 units for rows of 5 features and 3 classes, from a seed."""

    def make(depth: int = 4, seed: int = 0, norm: bool = False) -> nn.Sequential:
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for index in range(depth):
            middle = [nn.BatchNorm1d(6)] if norm else []
            layers.append(nn.Sequential(nn.Linear(6 if index else 5, 6), *middle, nn.Tanh()))
        return nn.Sequential(*layers, nn.Linear(6, 3))

    return make


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    """Rows of 5 features and their classes."""
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(12, 5, generator=generator)
    return rows, torch.randint(3, (12,), generator=generator)


def write_idx(path: Path, values: np.ndarray) -> None:
    header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">i4").tobytes()
    path.write_bytes(gzip.compress(header + values.tobytes()))


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the form of MNIST: 8 x 8 images that are brighter on the left or on the right."""
    folder = tmp_path_factory.mktemp("data") / "mnist"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for split, count in (("train", 128), ("t10k", 32)):
        labels = draw.integers(0, 10, count, dtype=np.uint8)
        images = draw.integers(0, 60, (count, 8, 8), dtype=np.uint8)
        images[np.arange(count), labels % 8] += 150
        write_idx(folder / f"{split}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{split}-labels-idx1-ubyte.gz", labels)
    return folder.parent
