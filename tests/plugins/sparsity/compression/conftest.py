"""Cost models that need no measurement, and matrices pruned by blocks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from evenfall_sparsity.compression.costs import Cost, Costs
from evenfall_sparsity.compression.kinds import Kind


class FixedCosts(Costs):
    """A stored value takes 1 ns in a dense row, 1.2 ns alone; a block takes 1.5 ns. Narrow dtypes
    are faster. A dense product takes 0.5 ns a weight."""

    def __init__(self) -> None:
        super().__init__(Path("/nowhere/costs.json"))

    def of(self, kind: Kind | None) -> Cost:
        if kind is None:
            return Cost(0.0, 0.5)
        entry = {0: 1.0, 1: 1.2}.get(kind.width, 1.5)
        return Cost(2.0, entry * {4: 1.0, 2: 0.7, 1: 0.5}[kind.dtype.itemsize])


@pytest.fixture
def costs() -> Costs:
    """A cost model that is the same on every machine."""
    return FixedCosts()


@pytest.fixture
def by_blocks() -> Callable[..., Tensor]:
    """A function that makes (inputs, outputs) with a share of its 1 x width blocks kept."""

    def make(n_in: int, n_out: int, width: int = 16, kept: float = 0.1) -> Tensor:
        generator = torch.Generator().manual_seed(n_in)
        mask = torch.rand(n_in, -(-n_out // width), generator=generator) < kept
        mask = mask.repeat_interleave(width, dim=1)[:, :n_out]
        return torch.randn(n_in, n_out, generator=generator) * mask

    return make
