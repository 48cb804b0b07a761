"""Convert the arguments of selective_scan to the form that all backends take."""

from __future__ import annotations

import torch
from torch import Tensor

from .reference import zoh_factor


def by_group(B: Tensor, C: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """B and C as (batch, groups, states, length); a constant one has a group per channel."""
    batch, channels, length = u.shape
    wide = [
        t[None, :, :, None].expand(batch, -1, -1, length)
        if t.dim() == 2
        else t[:, None] if t.dim() == 3 else t
        for t in (B, C)
    ]  # fmt: skip
    if 2 in (B.dim(), C.dim()):
        wide = [t.repeat_interleave(channels // max(t.shape[1], 1), dim=1) for t in wide]
    return wide[0], wide[1]


def constant_weight(
    discretization: str, A: Tensor, step_scale: Tensor, dtype: torch.dtype
) -> Tensor | None:
    """The factor of B u, (D, N), if constant in time (dirac and async); else None."""
    if discretization == "dirac":
        return torch.ones_like(A, dtype=dtype)
    if discretization == "async":
        return zoh_factor(step_scale.to(dtype)[:, None], A.to(dtype))
    return None
