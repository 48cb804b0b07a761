"""Run a packed layer on the backend for the device and dtype of its input."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from evenfall.backends import REFERENCE

from ...common.dense import linear
from ...common.dispatch import Choice, choose
from . import reference
from .checks import check_bounds
from .op import egru_scan_op
from .op_in_order import egru_scan_in_order_op
from .packing import InOrder, Packed, Padded

_MAX_EVENT_ROWS = 2  # with more rows, a dense product is faster: it reads W once


def layout_of(x: Tensor, cu_seqlens: Tensor | None, variant: str) -> Packed | Padded | InOrder:
    """How the rows of x (B, T, I) are sorted; reads the values of cu_seqlens unless traced."""
    traced = torch.compiler.is_compiling() and variant != "paper" and not x.is_meta
    if traced and choose("egru_scan", (x,)).backend != REFERENCE:
        return InOrder(x, cu_seqlens)
    if cu_seqlens is None:
        return Padded(*x.shape[:2])
    check_bounds(cu_seqlens, x.shape[1])
    return Packed(cu_seqlens)


def run_layer(
    x: Tensor, kernel: Tensor, bias: Tensor, recurrent: tuple[Any, ...],
    layout: Packed | Padded | InOrder, variant: str, event_driven: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """y (N, H), c (N, H) and the last h (B, H); x is packed by the layout, and `recurrent` are the
    arguments of reference.scan after gates_x, without batch_sizes."""
    # variant="paper" takes the input product from the backend and the steps from the reference.
    weights_and_state = () if variant == "paper" else recurrent[:5]
    choice = choose("egru_scan", (x, kernel, bias, *weights_and_state))
    if isinstance(layout, InOrder):
        gates_x = linear(x, kernel, bias).to(recurrent[1].dtype)
        options = choice.differentiable, event_driven, choice.backend
        return egru_scan_in_order_op(gates_x, layout.cu_seqlens, *recurrent, *options)[:3]
    recurrent = *recurrent[:7], layout.batch_sizes, *recurrent[7:]
    # torch.jit.trace cannot pass a list of sizes to an operator: it unrolls the reference.
    jit = choice.module is None and torch.jit.is_tracing()
    if choice.backend == REFERENCE or jit:
        return reference.layer(x, kernel, bias, recurrent, variant)
    recurrent_kernel, recurrent_bias, *rest = recurrent
    gates_x = _input_product(choice, x, kernel, bias, event_driven)
    gates_x = gates_x.to(recurrent_bias.dtype).contiguous()
    if variant == "paper":
        steps = gates_x, recurrent_kernel.to(gates_x.dtype), recurrent_bias, *rest, variant
        return reference.scan(*steps)
    arguments = gates_x, *recurrent, choice.differentiable, event_driven
    if choice.module is None:
        return egru_scan_op(*arguments, choice.backend)[:3]
    return choice.module.forward(*arguments)[:3]


def _input_product(
    choice: Choice, x: Tensor, kernel: Tensor, bias: Tensor, event_driven: bool
) -> Tensor:
    """x W + b_x of all rows at once; on the CPU, one or two rows skip inputs that are 0."""
    module, few = choice.module, event_driven and x.shape[0] <= _MAX_EVENT_ROWS
    may_skip = few and module is not None and choice.backend == "cpu"
    if may_skip and not torch.is_grad_enabled() and module.is_mostly_zero(x, kernel):
        return module.event_linear(x, kernel, bias)
    return linear(x, kernel, bias)
