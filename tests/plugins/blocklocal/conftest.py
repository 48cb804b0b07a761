"""Small models and batches that the tests share."""

from __future__ import annotations

from collections.abc import Callable

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
