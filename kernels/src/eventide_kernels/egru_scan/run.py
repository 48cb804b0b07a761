"""Run a packed scan on the backend that serves its device and dtype."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from eventide.backends import select

from ..dense import linear
from ..event_matmul import event_matmul
from . import reference
from .op import backend, egru_scan_op


def run(
    arguments: tuple[Any, ...], variant: str, event_driven: bool
) -> tuple[Tensor, Tensor, Tensor]:
    gates_x, recurrent_kernel, *_ = arguments
    if variant == "paper" or (not torch.compiler.is_compiling() and _plain(gates_x)):
        kernel = recurrent_kernel.to(gates_x.dtype)
        return reference.scan(gates_x, kernel, *arguments[2:], variant)
    differentiable = torch.is_grad_enabled() and any(
        isinstance(a, Tensor) and a.requires_grad for a in arguments
    )
    operation = egru_scan_op
    if not (differentiable or torch.compiler.is_compiling()):
        operation = backend(gates_x).forward  # PyTorch's dispatcher costs as much as a token
    return operation(*arguments, differentiable, event_driven)[:3]


def _plain(gates_x: Tensor) -> bool:
    dtype = str(gates_x.dtype).removeprefix("torch.")
    return select("egru_scan", device=gates_x.device.type, dtype=dtype).backend == "reference"


def input_product(x: Tensor, kernel: Tensor, bias: Tensor, event_driven: bool) -> Tensor:
    """x W + b for all rows at once; a few rows of mostly zeros skip the silent ones."""
    if not torch.compiler.is_compiling() and _plain(x):
        return F.linear(x, kernel.t(), bias)
    few = event_driven and len(x) <= 2 and x.is_cpu and not torch.is_grad_enabled()
    if few and not torch.compiler.is_compiling() and 2 * int(x.count_nonzero()) < x.numel():
        return event_matmul(x, kernel, bias=bias)
    return linear(x, kernel, bias)
