"""Matrices in int8 with one scale per row.

I rows, one per unit   O columns, one per output
"""

from __future__ import annotations

import torch
from torch import Tensor


def quantize_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Symmetric int8 with one scale per row: q[i] = round(W[i] / s[i]), s[i] = max|W[i]| / 127.

    Args:
        weight: (I, O) floating point, finite.

    Returns:
        (q (I, O) int8, s (I,) float32); |W - s q| <= s / 2. A row of zeros has scale 1.

    Raises:
        TypeError: weight is not a floating point tensor.
        ValueError: weight is not 2-D or not finite.
    """
    check_matrix("quantize_rows", weight)
    weight = weight.detach().float()
    if weight.shape[1] == 0:
        return weight.to(torch.int8), weight.new_ones(weight.shape[0])
    scale = weight.abs().amax(dim=1) / 127
    scale = torch.where(scale > 0, scale, 1.0)
    return (weight / scale.unsqueeze(1)).round().clamp(-127, 127).to(torch.int8), scale


def check_matrix(caller: str, weight: Tensor) -> None:
    """Check that a weight is a finite floating point matrix.

    Raises:
        TypeError, ValueError: it is not; messages begin with `caller`.
    """
    if not isinstance(weight, Tensor):
        raise TypeError(f"{caller}: weight must be a Tensor, got {type(weight).__name__}")
    if not weight.is_floating_point():
        raise TypeError(f"{caller}: weight must be floating point, got {weight.dtype}")
    if weight.ndim != 2:
        raise ValueError(f"{caller}: weight must have shape (I, O), got {tuple(weight.shape)}")
    if not weight.isfinite().all():
        raise ValueError(f"{caller}: weight must be finite, got NaN or infinity")
