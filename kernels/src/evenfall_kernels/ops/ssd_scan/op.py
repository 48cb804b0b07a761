"""ssd_scan as a torch.library custom op: one operation for autograd and torch.compile.

B batch   L steps   H heads   P channels of a head   N states   G groups   S sequences

x, z (B, L, H, P)   dt, log_decay (B, L, H) float32   B, C (B, L, G, N)   D (H, P)
initial_state (S, H, P, N) float32   cu_seqlens (S + 1,)
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
    return backend_module("ssd_scan", name)


@torch.library.custom_op("evenfall::ssd_scan", mutates_args=())
def ssd_scan_op(
    x: Tensor,
    dt: Tensor,
    log_decay: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    z: Tensor | None,
    initial_state: Tensor,
    cu_seqlens: Tensor | None,
    backend: str,
    save: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """y (B, L, H, P), the last state (S, H, P, N), and with `save` the states before each chunk."""
    return _backend(backend).forward(x, dt, log_decay, B, C, D, z, initial_state, cu_seqlens, save)


@ssd_scan_op.register_fake
def _(
    x: Tensor, dt: Tensor, log_decay: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor | None,
    initial_state: Tensor, cu_seqlens: Tensor | None, backend: str, save: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    return empty_outputs(x, initial_state, cu_seqlens, save, _backend(backend).CHUNK)


@torch.library.custom_op("evenfall::ssd_scan_backward", mutates_args=())
def ssd_scan_backward_op(
    grad_y: Tensor,
    grad_last: Tensor,
    states: Tensor,
    x: Tensor,
    dt: Tensor,
    log_decay: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    z: Tensor | None,
    initial_state: Tensor,
    cu_seqlens: Tensor | None,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x to initial_state, in argument order; a tensor without elements for None."""
    with torch.autocast(x.device.type, enabled=False):  # backward may run in an autocast block
        return _backend(backend).backward(
            grad_y, grad_last, states, x, dt, log_decay, B, C, D, z, initial_state, cu_seqlens
        )


@ssd_scan_backward_op.register_fake
def _(grad_y: Tensor, grad_last: Tensor, states: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    return empty_gradients(*inputs[:8])


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    tensors, ctx.backend, ctx.save = inputs[:9], inputs[9], inputs[10]
    ctx.mark_non_differentiable(output[2])
    ctx.save_for_backward(output[2], *tensors)


def _backward(ctx: Any, grad_y: Tensor, grad_last: Tensor, _: Any) -> Any:
    check_saved("ssd_scan", ctx.save)
    states, *tensors = ctx.saved_tensors
    if torch.is_grad_enabled():  # create_graph=True
        *inputs, cu_seqlens = tensors
        recorded = recorded_gradients(
            lambda *signals: reference.scan(*(*signals, cu_seqlens)), inputs, (grad_y, grad_last)
        )
        return *recorded, None, None, None
    grads = ssd_scan_backward_op(grad_y, grad_last, states, *tensors, ctx.backend)
    gradients = (
        None if tensor is None else grad for grad, tensor in zip(grads, tensors[:8], strict=True)
    )
    return *gradients, None, None, None


ssd_scan_op.register_autograd(_backward, setup_context=_setup_context)
