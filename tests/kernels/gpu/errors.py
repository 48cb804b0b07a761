"""How far the result of a kernel is from float64."""

from __future__ import annotations

import torch


def relative_error(got: torch.Tensor, want: torch.Tensor) -> float:
    """Of the largest value; a NaN counts as infinite."""
    if not want.numel():
        return 0.0
    error = (got.double() - want).abs().max() / want.abs().max().clamp_min(1e-9)
    return float(error.nan_to_num(float("inf")))
