"""Run a packed scan on the backend that serves its device and dtype."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from eventide.backends import Kernel, select

from ..dense import linear
from ..event_matmul import event_matmul
from . import reference
from .op import egru_scan_op


def run(
    arguments: tuple[Any, ...], variant: str, event_driven: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """y, c and the last h of a packed scan; the arguments are those of reference.scan."""
    gates_x, recurrent_kernel, *rest = arguments
    name = _backend(gates_x.device.type, gates_x.dtype)
    if variant == "paper" or name == "reference":
        return reference.scan(gates_x, recurrent_kernel.to(gates_x.dtype), *rest, variant)
    differentiable = torch.is_grad_enabled() and any(
        isinstance(a, Tensor) and a.requires_grad for a in arguments
    )
    if differentiable or torch.compiler.is_compiling():
        return egru_scan_op(*arguments, differentiable, event_driven, name)[:3]
    # PyTorch's dispatcher costs as much as a token.
    kernel = _select(gates_x.device.type, gates_x.dtype).load()
    return kernel.forward(*arguments, differentiable, event_driven)[:3]


def input_product(x: Tensor, kernel: Tensor, bias: Tensor, event_driven: bool) -> Tensor:
    """x W + b for all rows at once; a few rows of mostly zeros skip the silent ones."""
    if _backend(x.device.type, x.dtype) == "reference":
        return F.linear(x, kernel.t(), bias)
    few = event_driven and len(x) <= 2 and x.is_cpu and not torch.is_grad_enabled()
    if few and not torch.compiler.is_compiling() and 2 * int(x.count_nonzero()) < x.numel():
        return event_matmul(x, kernel, bias=bias)
    return linear(x, kernel, bias)


@torch.compiler.assume_constant_result
def _backend(device: str, dtype: torch.dtype) -> str:
    return _select(device, dtype).backend


def _select(device: str, dtype: torch.dtype) -> Kernel:
    return select("egru_scan", device=device, dtype=str(dtype).removeprefix("torch."))
