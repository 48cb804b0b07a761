"""Backward sparsity: how many units pass no gradient on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


def silent_in_backward(
    cells: torch.Tensor, threshold: torch.Tensor, support: float
) -> torch.Tensor:
    """The units whose gradient is exactly zero, (..., H) booleans.

    A unit without an event passes a gradient on only through the surrogate derivative of its event,
    which is zero where support |c - threshold| >= 1.

    Args:
        cells: c of each unit, (..., H).
        threshold: (H,).
        support: steepness s of the surrogate.

    Source: Subramoney et al., ICLR 2023, arXiv 2206.06178.
    """
    return (support * (cells - threshold).abs() >= 1) & (cells <= threshold)


def silent_rates(model: Any, cells: Sequence[torch.Tensor]) -> list[float]:
    """The share of units of each layer that pass no gradient on.

    Args:
        model: an EgruForCausalLM or a classifier.
        cells: its output `cells`.
    """
    layers, support = model.model.layers, model.config.support
    return [
        float(silent_in_backward(c, layer.threshold.clamp(0, 1), support).double().mean())
        for layer, c in zip(layers, cells, strict=True)
    ]
