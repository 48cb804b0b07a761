"""egru_scan as an operator for graphs of torch.compile and torch.export.

Rows are in their given order: the operator sorts them by time when it runs, so a graph is valid for
any number of sequences and steps. Dimensions as in reference.py.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...common.dispatch import backend_module, check_saved
from .checks import check_bounds
from .packing import Packed, Padded


@torch.library.custom_op("evenfall::egru_scan_in_order", mutates_args=())
def egru_scan_in_order_op(
    gates_x: Tensor,
    cu_seqlens: Tensor | None,
    recurrent_kernel: Tensor,
    recurrent_bias: Tensor,
    threshold: Tensor,
    y0: Tensor,
    h0: Tensor,
    keep: Tensor | None,
    keep_rate: float,
    dampening: float,
    support: float,
    save: bool,
    event_driven: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """y (N, H), c (N, H), last h (B, H), and for the backward pass gates and candidate, by time.

    Without cu_seqlens (B + 1), all sequences are N / B steps long.

    Raises:
        ValueError: cu_seqlens decreases, or does not go from 0 to N.
    """
    layout = _layout(len(gates_x), len(y0), cu_seqlens)
    y, c, h, gates, candidate = backend_module("egru_scan", backend).forward(
        _pack(layout, gates_x), recurrent_kernel, recurrent_bias, threshold,
        layout.sort(y0).contiguous(), layout.sort(h0).contiguous(), _pack(layout, keep), keep_rate,
        layout.batch_sizes, dampening, support, save, event_driven,
    )  # fmt: skip
    if not save:
        gates, candidate = gates[:0].clone(), candidate[:0].clone()
    return _unpack(layout, y), _unpack(layout, c), layout.unsort(h), gates, candidate


@egru_scan_in_order_op.register_fake
def _(
    gates_x: Tensor, cu_seqlens: Tensor | None, recurrent_kernel: Tensor, recurrent_bias: Tensor,
    threshold: Tensor, y0: Tensor, h0: Tensor, keep: Tensor | None, keep_rate: float,
    dampening: float, support: float, save: bool, event_driven: bool, backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    rows, units = gates_x.shape[0], h0.shape[1]
    saved = rows if save else 0
    return (
        gates_x.new_empty(rows, units), gates_x.new_empty(rows, units), torch.empty_like(h0),
        gates_x.new_empty(saved, 3 * units), gates_x.new_empty(saved, units),
    )  # fmt: skip


@torch.library.custom_op("evenfall::egru_scan_in_order_backward", mutates_args=())
def egru_scan_in_order_backward_op(
    grad_y: Tensor,
    grad_c: Tensor,
    grad_h: Tensor,
    gates: Tensor,
    candidate: Tensor,
    y: Tensor,
    c: Tensor,
    cu_seqlens: Tensor | None,
    recurrent_kernel: Tensor,
    recurrent_bias: Tensor,
    threshold: Tensor,
    y0: Tensor,
    h0: Tensor,
    keep: Tensor | None,
    keep_rate: float,
    dampening: float,
    support: float,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of gates_x, recurrent_kernel, recurrent_bias, threshold, y0, h0."""
    layout = _layout(len(y), len(y0), cu_seqlens)
    d_gates, d_kernel, d_bias, d_threshold, d_y0, d_h0 = backend_module(
        "egru_scan", backend
    ).backward(
        _pack(layout, grad_y), _pack(layout, grad_c), layout.sort(grad_h).contiguous(), gates,
        candidate, _pack(layout, y), _pack(layout, c), recurrent_kernel, recurrent_bias, threshold,
        layout.sort(y0).contiguous(), layout.sort(h0).contiguous(), _pack(layout, keep), keep_rate,
        layout.batch_sizes, dampening, support,
    )  # fmt: skip
    states = layout.unsort(d_y0), layout.unsort(d_h0)
    return _unpack(layout, d_gates), d_kernel, d_bias, d_threshold, *states


@egru_scan_in_order_backward_op.register_fake
def _(
    grad_y: Tensor, grad_c: Tensor, grad_h: Tensor, gates: Tensor, candidate: Tensor, y: Tensor,
    c: Tensor, cu_seqlens: Tensor | None, recurrent_kernel: Tensor, recurrent_bias: Tensor,
    threshold: Tensor, y0: Tensor, h0: Tensor, keep: Tensor | None, keep_rate: float,
    dampening: float, support: float, backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    return (
        y.new_empty(y.shape[0], 3 * y.shape[1]), torch.empty_like(recurrent_kernel),
        torch.empty_like(recurrent_bias), torch.empty_like(threshold), torch.empty_like(y0),
        torch.empty_like(h0),
    )  # fmt: skip


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _, cu_seqlens, recurrent_kernel, recurrent_bias, threshold, y0, h0, keep, *rest = inputs
    y, c, _, gates, candidate = output
    ctx.mark_non_differentiable(gates, candidate)
    ctx.save_for_backward(
        gates, candidate, y, c, cu_seqlens, recurrent_kernel, recurrent_bias, threshold, y0, h0,
        keep,
    )  # fmt: skip
    ctx.keep_rate, ctx.dampening, ctx.support, ctx.save, _, ctx.backend = rest


def _backward(ctx: Any, grad_y: Tensor, grad_c: Tensor, grad_h: Tensor, *_: Any) -> Any:
    check_saved("egru_scan", ctx.save)
    d_gates, *grads = egru_scan_in_order_backward_op(
        grad_y.contiguous(), grad_c.contiguous(), grad_h.contiguous(), *ctx.saved_tensors,
        ctx.keep_rate, ctx.dampening, ctx.support, ctx.backend,
    )  # fmt: skip
    return d_gates, None, *grads, *[None] * 7


egru_scan_in_order_op.register_autograd(_backward, setup_context=_setup_context)


def _layout(rows: int, sequences: int, cu_seqlens: Tensor | None) -> Packed | Padded:
    if cu_seqlens is None:
        return Padded(sequences, rows // sequences if sequences else 0)
    check_bounds(cu_seqlens, rows)
    return Packed(cu_seqlens)


def _pack(layout: Packed | Padded, rows: Any) -> Any:
    """(N, F) in the given order -> (N, F), sorted by time; None stays None."""
    if rows is None:
        return None
    given = rows.view(layout.batch, layout.time, -1) if isinstance(layout, Padded) else rows[None]
    return layout.pack(given).contiguous()


def _unpack(layout: Packed | Padded, rows: Tensor) -> Tensor:
    """(N, F), sorted by time -> (N, F) in the given order."""
    return layout.unpack(rows).reshape(rows.shape)
