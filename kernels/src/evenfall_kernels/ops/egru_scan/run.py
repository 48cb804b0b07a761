"""Run a packed scan on the backend that serves its device and dtype."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from evenfall.backends import Kernel, select

from ...common.dense import linear
from ...common.dispatch import can_be_read, is_unwatched, refuse_transforms
from ..event_matmul import event_matmul
from . import reference
from .op import egru_scan_op


def run(
    arguments: tuple[Any, ...], variant: str, event_driven: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """y, c and the last h of a packed scan; the arguments are those of reference.scan."""
    gates_x, recurrent_kernel, *rest = arguments
    name = _backend_of(gates_x)
    if variant == "paper" or name == "reference":
        return reference.scan(gates_x, recurrent_kernel.to(gates_x.dtype), *rest, variant)
    tensors = [a for a in arguments if isinstance(a, Tensor)]
    refuse_transforms("egru_scan", name, tensors)
    differentiable = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    if differentiable or not is_unwatched(tensors):
        return egru_scan_op(*arguments, differentiable, event_driven, name)[:3]
    # PyTorch's dispatcher costs as much as a token.
    kernel = _select(gates_x.device.type, gates_x.dtype).load()
    return kernel.forward(*arguments, differentiable, event_driven)[:3]


def input_product(x: Tensor, kernel: Tensor, bias: Tensor, event_driven: bool) -> Tensor:
    """x W + b for all rows at once; a few rows of mostly zeros skip the silent ones."""
    name = _backend_of(x)
    if name == "reference":
        return F.linear(x, kernel.t(), bias)
    refuse_transforms("egru_scan", name, (x, kernel, bias))
    few = event_driven and len(x) <= 2 and not torch.is_grad_enabled()
    if few and can_be_read(x) and 2 * int(x.count_nonzero()) < x.numel():
        return event_matmul(x, kernel, bias=bias)
    return linear(x, kernel, bias)


def _backend_of(tensor: Tensor) -> str:
    # Shapes alone are the same from every backend, and torch.jit's tracer, which takes no list of
    # sizes into an operator, can unroll the reference.
    if tensor.is_meta or torch.jit.is_tracing():
        return "reference"
    return _backend(tensor.device.type, tensor.dtype)


@torch.compiler.assume_constant_result
def _backend(device: str, dtype: torch.dtype) -> str:
    return _select(device, dtype).backend


def _select(device: str, dtype: torch.dtype) -> Kernel:
    return select("egru_scan", device=device, dtype=dtype)
