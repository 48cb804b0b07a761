"""Run a scan on the backend that serves its device and dtype."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from evenfall.backends import select

from ...common.dispatch import is_unwatched, refuse_transforms
from . import reference
from .op import load_backend, selective_scan_op


def run(*arguments: Any) -> tuple[Tensor, Tensor]:
    """y and the last state; the arguments are those of reference.scan."""
    u, compiling = arguments[0], torch.compiler.is_compiling()
    # Shapes alone are the same from every backend.
    name = "reference" if u.is_meta else _backend(u.device.type, u.dtype)
    if name == "reference" and not (u.is_meta or compiling):
        return reference.scan(*arguments)
    tensors = [a for a in arguments if isinstance(a, Tensor)]
    refuse_transforms("selective_scan", name, tensors)
    differentiable = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    if differentiable or not is_unwatched(tensors):
        return selective_scan_op(*arguments, name, differentiable)[:2]
    # PyTorch's dispatcher costs as much as a short scan.
    return load_backend(name).forward(*arguments, False)[:2]


def by_group(B: Tensor, C: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """B and C as (batch, groups, states, length); of constants each channel is a group."""
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


@torch.compiler.assume_constant_result
def _backend(device: str, dtype: torch.dtype) -> str:
    return select("selective_scan", device=device, dtype=dtype).backend


def constant_weight(
    discretization: str, A: Tensor, step_scale: Tensor, dtype: torch.dtype
) -> Tensor | None:
    """The factor of B u, (D, N), where it depends on no step: dirac and async; else None."""
    if discretization == "dirac":
        return torch.ones_like(A, dtype=dtype)
    if discretization == "async":
        return reference.zoh_factor(step_scale.to(dtype)[:, None], A.to(dtype))
    return None
