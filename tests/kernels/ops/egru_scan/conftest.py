"""Inputs of egru_scan shared by its tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch


def make_inputs(
    dtype: torch.dtype = torch.float64,
    batch: int = 3,
    time: int = 7,
    inputs: int = 5,
    units: int = 17,
    sequences: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Keyword arguments of egru_scan, the same numbers in every dtype."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float = 1.0) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64) * scale

    sequences = batch if sequences is None else sequences
    tensors = {
        "x": normal(batch, time, inputs),
        "kernel": normal(inputs, 3 * units, scale=0.4),
        "recurrent_kernel": normal(units, 3 * units, scale=units**-0.5),
        "bias": normal(3 * units, scale=0.1),
        "recurrent_bias": normal(3 * units, scale=0.1),
        "threshold": torch.rand(units, generator=generator, dtype=torch.float64) * 0.3,
        "y": normal(sequences, units).abs(),
        "h": normal(sequences, units),
    }
    keywords: dict[str, Any] = {n: t.to(dtype).requires_grad_() for n, t in tensors.items()}
    keywords["initial_state"] = (keywords.pop("y"), keywords.pop("h"))
    return keywords


@pytest.fixture(name="make_inputs")
def _make_inputs() -> Callable[..., dict[str, Any]]:
    return make_inputs
