"""Run a packed layer on the backend that serves the device and the dtype of its input."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...common.dense import linear
from ...common.dispatch import REFERENCE, Choice, choose
from . import reference
from .op import egru_scan_op

_FEW = 2  # rows; a dense product reads W once for more of them


def run_layer(
    x: Tensor, kernel: Tensor, bias: Tensor, recurrent: tuple[Any, ...], variant: str,
    event_driven: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """y, c and the last h, (N, H), (N, H) and (B, H); the arguments are reference.layer's."""
    # The paper's variant has the backend's input product and the reference's steps.
    weights_and_state = () if variant == "paper" else recurrent[:5]
    choice = choose("egru_scan", (x, kernel, bias, *weights_and_state))
    # torch.jit's tracer, which takes no list of sizes into an operator, can unroll the reference.
    unrolls = choice.module is None and torch.jit.is_tracing()
    if choice.backend == REFERENCE or unrolls:
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
    """x W + b_x of all rows at once; on the CPU a few rows of mostly zeros skip the silent ones."""
    module, few = choice.module, event_driven and x.shape[0] <= _FEW
    may_skip = few and module is not None and choice.backend == "cpu"
    if may_skip and not torch.is_grad_enabled() and module.skips_silent(x, kernel):
        return module.event_linear(x, kernel, bias)
    return linear(x, kernel, bias)
