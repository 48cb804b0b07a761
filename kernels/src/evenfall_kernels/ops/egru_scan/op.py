"""egru_scan as a torch.library custom op: one operation for autograd and torch.compile."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...common.dispatch import backend_module, check_saved
from ...common.gradients import refuse_second_derivatives
from .steps import empty_outputs


@torch.library.custom_op("evenfall::egru_scan", mutates_args=())
def egru_scan_op(
    gates_x: Tensor,
    recurrent_kernel: Tensor,
    recurrent_bias: Tensor,
    threshold: Tensor,
    y0: Tensor,
    h0: Tensor,
    keep: Tensor | None,
    keep_rate: float,
    batch_sizes: list[int],
    dampening: float,
    support: float,
    save: bool,
    event_driven: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """y (N, H), c (N, H), last h (B, H), and gates and candidate for the backward pass.

    Raises:
        ValueError: batch_sizes increase, exceed the sequences of y0, or do not add up to N.
    """
    _check_sizes(batch_sizes, len(gates_x), len(y0))
    return backend_module("egru_scan", backend).forward(
        gates_x, recurrent_kernel, recurrent_bias, threshold, y0, h0, keep, keep_rate,
        batch_sizes, dampening, support, save, event_driven,
    )  # fmt: skip


def _check_sizes(batch_sizes: list[int], rows: int, sequences: int) -> None:
    """A traced graph can be run with another number of rows; the loops do not check the sizes."""
    bounds = [sequences, *batch_sizes, 0]
    if sum(batch_sizes) != rows or bounds != sorted(bounds, reverse=True):
        short = len(batch_sizes) <= 8
        got = batch_sizes if short else f"{batch_sizes[:3]} ... {batch_sizes[-3:]}"
        raise ValueError(
            f"egru_scan: batch_sizes must be at most {sequences} (sequences), not increase, and "
            f"add up to {rows} (rows), got {got}"
        )


@egru_scan_op.register_fake
def _(
    gates_x: Tensor, recurrent_kernel: Tensor, recurrent_bias: Tensor, threshold: Tensor,
    y0: Tensor, h0: Tensor, keep: Tensor | None, keep_rate: float, batch_sizes: list[int],
    dampening: float, support: float, save: bool, event_driven: bool, backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    return empty_outputs(gates_x, h0, batch_sizes, save)


@torch.library.custom_op("evenfall::egru_scan_backward", mutates_args=())
def egru_scan_backward_op(
    grad_y: Tensor,
    grad_c: Tensor,
    grad_h: Tensor,
    gates: Tensor,
    candidate: Tensor,
    y: Tensor,
    c: Tensor,
    recurrent_kernel: Tensor,
    recurrent_bias: Tensor,
    threshold: Tensor,
    y0: Tensor,
    h0: Tensor,
    keep: Tensor | None,
    keep_rate: float,
    batch_sizes: list[int],
    dampening: float,
    support: float,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of gates_x, recurrent_kernel, recurrent_bias, threshold, y0, h0."""
    return backend_module("egru_scan", backend).backward(
        grad_y, grad_c, grad_h, gates, candidate, y, c, recurrent_kernel, recurrent_bias,
        threshold, y0, h0, keep, keep_rate, batch_sizes, dampening, support,
    )  # fmt: skip


@egru_scan_backward_op.register_fake
def _(
    grad_y: Tensor, grad_c: Tensor, grad_h: Tensor, gates: Tensor, candidate: Tensor, y: Tensor,
    c: Tensor, recurrent_kernel: Tensor, recurrent_bias: Tensor, threshold: Tensor, y0: Tensor,
    h0: Tensor, keep: Tensor | None, keep_rate: float, batch_sizes: list[int],
    dampening: float, support: float, backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    return (
        y.new_empty(y.shape[0], 3 * y.shape[1]), torch.empty_like(recurrent_kernel),
        torch.empty_like(recurrent_bias), torch.empty_like(threshold), torch.empty_like(y0),
        torch.empty_like(h0),
    )  # fmt: skip


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _, recurrent_kernel, recurrent_bias, threshold, y0, h0, keep, *rest = inputs
    y, c, _, gates, candidate = output
    ctx.mark_non_differentiable(gates, candidate)
    ctx.save_for_backward(
        gates, candidate, y, c, recurrent_kernel, recurrent_bias, threshold, y0, h0, keep
    )
    ctx.keep_rate, ctx.batch_sizes, ctx.dampening, ctx.support, ctx.save, _, ctx.backend = rest


def _backward(ctx: Any, grad_y: Tensor, grad_c: Tensor, grad_h: Tensor, *_: Any) -> Any:
    check_saved("egru_scan", ctx.save)
    gates, candidate, y, c, *weights, y0, h0, keep = ctx.saved_tensors
    grads = egru_scan_backward_op(
        grad_y.contiguous(), grad_c.contiguous(), grad_h.contiguous(), gates, candidate, y, c,
        *weights, y0, h0, keep, ctx.keep_rate, ctx.batch_sizes, ctx.dampening, ctx.support,
        ctx.backend,
    )  # fmt: skip
    return *grads, *[None] * 8


egru_scan_op.register_autograd(_backward, setup_context=_setup_context)
egru_scan_backward_op.register_autograd(refuse_second_derivatives("egru_scan"))
