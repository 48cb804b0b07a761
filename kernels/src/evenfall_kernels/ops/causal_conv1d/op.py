"""causal_conv1d as a torch.library custom op: one operation for autograd and torch.compile.

Bias and initial state are optional. The gradient of a missing one is an empty tensor.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...common.dispatch import backend_module
from ...common.gradients import recorded_gradients
from . import reference


@torch.library.custom_op("evenfall::causal_conv1d", mutates_args=())
def causal_conv1d_op(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    initial_state: Tensor | None,
    cu_seqlens: Tensor | None,
    silu: bool,
    backend: str,
) -> tuple[Tensor, Tensor]:
    """out (B, D, L) and final state (S, D, W - 1)."""
    module = backend_module("causal_conv1d", backend)
    out, final = module.forward(x, weight, bias, initial_state, cu_seqlens, silu)
    return _match_layout(x, out), final.contiguous()


def _match_layout(x: Tensor, out: Tensor) -> Tensor:
    """`out` in the memory layout of x, which compiled code relies on."""
    like = torch.empty_like(x)
    return out if out.stride() == like.stride() else like.copy_(out)


@causal_conv1d_op.register_fake
def _(
    x: Tensor, weight: Tensor, bias: Tensor | None, initial_state: Tensor | None,
    cu_seqlens: Tensor | None, silu: bool, backend: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    sequences = x.shape[0] if cu_seqlens is None else cu_seqlens.shape[0] - 1
    return torch.empty_like(x), x.new_empty(sequences, x.shape[1], weight.shape[1] - 1)


@torch.library.custom_op("evenfall::causal_conv1d_backward", mutates_args=())
def causal_conv1d_backward_op(
    grad_out: Tensor,
    grad_final: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    initial_state: Tensor | None,
    cu_seqlens: Tensor | None,
    silu: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, weight, bias, initial state."""
    d_x, *others = backend_module("causal_conv1d", backend).backward(
        grad_out, grad_final, x, weight, bias, initial_state, cu_seqlens, silu
    )
    return _match_layout(x, d_x), *others


@causal_conv1d_backward_op.register_fake
def _(
    grad_out: Tensor, grad_final: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None,
    initial_state: Tensor | None, cu_seqlens: Tensor | None, silu: bool, backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    optional = (
        x.new_empty(0) if tensor is None else tensor.new_empty(tensor.shape)
        for tensor in (bias, initial_state)
    )
    return torch.empty_like(x), weight.new_empty(weight.shape), *optional


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.silu, ctx.backend = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad_out: Tensor, grad_final: Tensor) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors  # read once: torch.utils.checkpoint allows only one read
    *inputs, cu_seqlens = saved
    if torch.is_grad_enabled():  # create_graph=True
        grads = recorded_gradients(
            lambda *tensors: reference.forward(*(*tensors, cu_seqlens, ctx.silu)),
            inputs, (grad_out, grad_final),
        )  # fmt: skip
        return *grads, None, None, None
    _, _, bias, initial_state = inputs
    d_x, d_weight, d_bias, d_state = causal_conv1d_backward_op(
        grad_out, grad_final, *saved, ctx.silu, ctx.backend
    )
    optional = (None if bias is None else d_bias, None if initial_state is None else d_state)
    return d_x, d_weight, *optional, None, None, None


causal_conv1d_op.register_autograd(_backward, setup_context=_save)
