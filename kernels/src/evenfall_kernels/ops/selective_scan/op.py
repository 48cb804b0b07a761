"""selective_scan as a torch.library custom op: one operation for autograd and torch.compile.

B batch   D channels   L steps   N state size   G groups   S sequences

u, delta, z (B, D, L)   A, weight (D, N)   B, C (B, G, N, L)   D, delta_bias, step_scale (D,)
step (B, L) or (B, D, L)   initial_state (S, D, N) float32      cu_seqlens (S + 1,)
factor: "delta", "zoh" or "bilinear", see reference.scan
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...common.dispatch import backend_module, check_saved
from ...common.gradients import recorded_gradients
from . import reference
from .outputs import empty_gradients, empty_outputs


def _backend(name: str) -> Any:
    """A module with forward, backward, and CHUNK, the number of steps between saved states."""
    return backend_module("selective_scan", name)


@torch.library.custom_op("evenfall::selective_scan", mutates_args=())
def selective_scan_op(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    z: Tensor | None,
    delta_bias: Tensor,
    step: Tensor | None,
    step_scale: Tensor,
    weight: Tensor | None,
    initial_state: Tensor,
    cu_seqlens: Tensor | None,
    delta_softplus: bool,
    factor: str,
    backend: str,
    save: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """y (B, D, L), the last state (S, D, N), and with `save` the states before each chunk."""
    return _backend(backend).forward(
        u, delta, A, B, C, D, z, delta_bias, step, step_scale, weight, initial_state, cu_seqlens,
        delta_softplus, factor, save,
    )  # fmt: skip


@selective_scan_op.register_fake
def _(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor | None,
    delta_bias: Tensor, step: Tensor | None, step_scale: Tensor, weight: Tensor | None,
    initial_state: Tensor, cu_seqlens: Tensor | None, delta_softplus: bool, factor: str,
    backend: str, save: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    return empty_outputs(u, B, initial_state, save, _backend(backend).CHUNK)


@torch.library.custom_op("evenfall::selective_scan_backward", mutates_args=())
def selective_scan_backward_op(
    grad_y: Tensor,
    grad_last: Tensor,
    chunk_states: Tensor,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    z: Tensor | None,
    delta_bias: Tensor,
    step: Tensor | None,
    step_scale: Tensor,
    weight: Tensor | None,
    initial_state: Tensor,
    cu_seqlens: Tensor | None,
    delta_softplus: bool,
    factor: str,
    backend: str,
) -> tuple[
    Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor
]:
    """Gradients of u to initial_state, in argument order; a tensor without elements for None."""
    return _backend(backend).backward(
        grad_y, grad_last, chunk_states, u, delta, A, B, C, D, z, delta_bias, step, step_scale,
        weight, initial_state, cu_seqlens, delta_softplus, factor,
    )  # fmt: skip


@selective_scan_backward_op.register_fake
def _(
    grad_y: Tensor, grad_last: Tensor, chunk_states: Tensor, *inputs: Any
) -> tuple[Tensor, ...]:  # fmt: skip
    return empty_gradients(*inputs[:12])


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    tensors, ctx.options, ctx.save = inputs[:13], inputs[13:16], inputs[16]
    ctx.mark_non_differentiable(output[2])
    ctx.save_for_backward(output[2], *tensors)


def _backward(ctx: Any, grad_y: Tensor, grad_last: Tensor, _: Any) -> Any:
    check_saved("selective_scan", ctx.save)
    chunk_states, *tensors = ctx.saved_tensors
    if torch.is_grad_enabled():  # create_graph=True
        *inputs, cu_seqlens = tensors
        softplus, factor, _ = ctx.options
        recorded = recorded_gradients(
            lambda *signals: reference.scan(*(*signals, cu_seqlens, softplus, factor)),
            inputs, (grad_y, grad_last),
        )  # fmt: skip
        return *recorded, None, None, None, None, None
    grads = selective_scan_backward_op(grad_y, grad_last, chunk_states, *tensors, *ctx.options)
    gradients = (
        None if tensor is None else grad
        for grad, tensor in zip(grads, tensors[:12], strict=True)
    )  # fmt: skip
    return *gradients, None, None, None, None, None


selective_scan_op.register_autograd(_backward, setup_context=_setup_context)
