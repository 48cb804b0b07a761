"""Run a scan on the backend that serves its device and dtype."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from eventide.backends import select

from . import reference
from .op import load_backend, selective_scan_op


def run(*arguments: Any) -> tuple[Tensor, Tensor]:
    """y and the last state; the arguments are those of reference.scan."""
    u = arguments[0]
    name = _backend(u.device.type, u.dtype)
    if name == "reference":
        return reference.scan(*arguments)
    differentiable = torch.is_grad_enabled() and any(
        isinstance(a, Tensor) and a.requires_grad for a in arguments
    )
    if differentiable or torch.compiler.is_compiling():
        return selective_scan_op(*arguments, name, differentiable)[:2]
    # PyTorch's dispatcher costs as much as a short scan.
    return load_backend(name).forward(*arguments, False)[:2]


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
