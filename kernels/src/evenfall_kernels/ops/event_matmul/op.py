"""The event product as torch.library custom ops, with exact gradients.

    evenfall::event_matmul(events, weight, scale, backend)
    evenfall::event_matmul_rows(events, values, columns, row_starts, scale, n_out, backend)

The second one takes compressed rows, values (nnz,), and blocks, values (n, width).

With G = dL/dout (N, O), E events (N, I), W weight (I, O), s scale (I,):

    dL/dE = (G W^T) * s          dense: a silent unit has a derivative, too
    dL/dW = (E * s)^T G          only for dense floating point weights
    dL/ds = sum_n E * (G W^T)
"""

from typing import Any

import torch
from torch import Tensor

from ...common.dispatch import backend_module
from .reference import accumulation_dtype, to_dense


@torch.library.custom_op("evenfall::event_matmul", mutates_args=())
def event_matmul_dense(
    events: Tensor, weight: Tensor, scale: Tensor | None, backend: str
) -> Tensor:
    """events (N, I), weight (I, O), scale (I,) -> (N, O) in the dtype of events."""
    _check_width(events, len(weight))
    return backend_module("event_matmul", backend).forward(events, weight, scale)


@torch.library.custom_op("evenfall::event_matmul_rows", mutates_args=())
def event_matmul_rows(
    events: Tensor,
    values: Tensor,
    columns: Tensor,
    row_starts: Tensor,
    scale: Tensor | None,
    n_out: int,
    backend: str,
) -> Tensor:
    """The same for compressed rows, values (nnz,), or blocks, values (n, width)."""
    _check_width(events, len(row_starts) - 1)
    module = backend_module("event_matmul", backend)
    return module.forward_rows(events, values, columns, row_starts, scale, n_out)


def _check_width(events: Tensor, units: int) -> None:
    """A traced graph can be run with another number of units; the loops do not check it."""
    if events.shape[1] != units:
        raise ValueError(f"event_matmul: events have {events.shape[1]} units, weight has {units}")


@event_matmul_dense.register_fake
def _(events: Tensor, weight: Tensor, scale: Tensor | None, backend: str) -> Tensor:
    return events.new_empty(events.shape[0], weight.shape[1])


@event_matmul_rows.register_fake
def _(
    events: Tensor,
    values: Tensor,
    columns: Tensor,
    row_starts: Tensor,
    scale: Tensor | None,
    n_out: int,
    backend: str,
) -> Tensor:
    return events.new_empty(events.shape[0], n_out)


def _save_dense(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3])


def _save_rows(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    events, *matrix, n_out, _ = inputs
    ctx.dtype, ctx.n_out = events.dtype, n_out
    ctx.save_for_backward(*matrix)


def _backward_dense(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    events, weight, scale = ctx.saved_tensors
    needs_events, needs_weight, needs_scale, _ = ctx.needs_input_grad
    dtype = accumulation_dtype(events.dtype, weight.dtype)
    grad, wide_events = grad.to(dtype), events.to(dtype)
    factor = 1 if scale is None else scale.to(dtype)
    d_events = d_weight = d_scale = None
    if needs_events or needs_scale:
        product = grad @ weight.to(dtype).t()  # (N, I)
        d_events = (product * factor).to(events.dtype)
        d_scale = (wide_events * product).sum(0).to(scale.dtype) if needs_scale else None
    if needs_weight:
        d_weight = ((wide_events * factor).t() @ grad).to(weight.dtype)
    return d_events, d_weight, d_scale, None


def _backward_rows(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    values, columns, row_starts, scale = ctx.saved_tensors
    dtype = accumulation_dtype(ctx.dtype)
    dense = to_dense(values.to(dtype), columns, row_starts, ctx.n_out)
    d_events = grad.to(dtype) @ dense.t()
    if scale is not None:
        d_events = d_events * scale.to(dtype)
    return d_events.to(ctx.dtype), *[None] * 6


event_matmul_dense.register_autograd(_backward_dense, setup_context=_save_dense)
event_matmul_rows.register_autograd(_backward_rows, setup_context=_save_rows)
