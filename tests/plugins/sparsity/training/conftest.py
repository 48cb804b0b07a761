"""A tiny model, and a loop that trains it with a callback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn


@pytest.fixture
def model() -> Any:
    """Two layers, 12 x 16 and 16 x 8 weights."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 8))


@pytest.fixture
def optimizer(model: Any) -> Any:
    return torch.optim.AdamW(model.parameters(), lr=0.01)


@pytest.fixture
def train() -> Callable[..., list[list[Any]]]:
    """Train from one step to another; returns which weights were zero after each."""

    def run(model: Any, optimizer: Any, callback: Any, first: int, last: int, total: int) -> Any:
        zeros = []
        for step in range(first, last + 1):
            x = torch.randn(16, 12, generator=torch.Generator().manual_seed(step))
            (model(x) - x[:, :8]).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            callback.step(step, total, optimizer)
            zeros.append([(model[i].weight == 0) for i in (0, 2)])
        return zeros

    return run
