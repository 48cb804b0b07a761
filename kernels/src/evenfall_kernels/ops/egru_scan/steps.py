"""The loop over time of the CPU and Triton backends.

Each step is one matrix product and one fused pointwise pass. The weight gradient is one product
over all steps. A backend binds its pass to the whole arrays once and is then called with row
numbers, so no step creates views. Dimensions as in reference.py.

Saved for the backward pass, per row: z, r, g (3H), the recurrent candidate (H), c (H), y (H).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from ...common.dense import DenseProduct

Bind = Callable[..., Callable[[int, int, int], None]]  # arrays -> (first row, rows, extra row)


def forward_steps(
    bind: Bind,
    gates_x: Tensor,
    recurrent_kernel: Tensor,
    recurrent_bias: Tensor,
    threshold: Tensor,
    y0: Tensor,
    h0: Tensor,
    keep: Tensor | None,
    keep_rate: float,
    batch_sizes: list[int],
    save: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Run all steps: y, c, the last h, and the gates and candidate for the backward pass."""
    y, c, h, gates, candidate = empty_outputs(gates_x, h0, batch_sizes, save)
    product = gates_x.new_empty(h.shape[0], gates_x.shape[1])
    pointwise = bind(
        gates_x, product, recurrent_bias, threshold, h, keep, keep_rate, gates, candidate, y, c
    )
    recurrent = DenseProduct(recurrent_kernel, len(gates_x))
    y_before, first = y0, 0
    for size in batch_sizes:
        recurrent.into(y_before[:size], product[:size])
        pointwise(first, size, first if save else 0)
        y_before = y[first : first + size]
        first += size
    return y, c, h, gates, candidate


def empty_outputs(
    gates_x: Tensor, h0: Tensor, batch_sizes: list[int], save: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """y, c, h, gates and candidate; h has the values of h0, the others are uninitialised.

    With `save`, gates and candidate have all rows, else those of one step.
    """
    rows, units = gates_x.shape[0], h0.shape[1]
    save_rows = rows if save else (batch_sizes[0] if batch_sizes else 0)
    return (
        gates_x.new_empty(rows, units), gates_x.new_empty(rows, units), h0.clone(),
        gates_x.new_empty(save_rows, 3 * units), gates_x.new_empty(save_rows, units),
    )  # fmt: skip


def backward_steps(
    bind: Bind,
    grad_y: Tensor,
    grad_c: Tensor,
    grad_h: Tensor,
    gates: Tensor,
    candidate: Tensor,
    y: Tensor,
    c: Tensor,
    recurrent_kernel: Tensor,
    threshold: Tensor,
    y0: Tensor,
    h0: Tensor,
    keep: Tensor | None,
    keep_rate: float,
    batch_sizes: list[int],
    dampening: float,
    support: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of gates_x, recurrent_kernel, recurrent_bias, threshold, y0, h0.

    ``dq`` is first the gradient of y' R + b_r. Then its candidate block is replaced by that of the
    gradient of x W + b_x; the other blocks are equal.
    """
    rows, units = c.shape
    dq, dg = c.new_empty(rows, 3 * units), c.new_empty(rows, units)
    dh, dy = grad_h.clone(), torch.zeros_like(y0)
    d_threshold = torch.zeros_like(h0)  # per sequence, added up at the end
    pointwise = bind(
        grad_y, grad_c, gates, candidate, c, threshold, h0, keep, keep_rate,
        dh, dy, d_threshold, dq, dg, dampening, support,
    )  # fmt: skip
    first = rows
    transposed = recurrent_kernel.t()
    if recurrent_kernel.dtype != dq.dtype:
        transposed = transposed.contiguous()  # faster for low-precision products
    recurrent = DenseProduct(transposed, rows)
    for t in range(len(batch_sizes) - 1, -1, -1):
        size = batch_sizes[t]
        first -= size
        pointwise(first, size, -1 if t == 0 else first - batch_sizes[t - 1])
        recurrent.into(dq[first : first + size], dy[:size])
    y_before = _y_before(y, y0, batch_sizes)
    low = recurrent_kernel.dtype
    d_kernel = y_before.to(low).t() @ dq.to(low)
    d_bias = dq.sum(0)
    dq[:, 2 * units :] = dg
    return dq, d_kernel, d_bias, d_threshold.sum(0), dy, dh


def _y_before(y: Tensor, y0: Tensor, batch_sizes: list[int]) -> Tensor:
    """The y' of each row, (N, H)."""
    if not batch_sizes:
        return y
    if batch_sizes[0] == batch_sizes[-1]:
        return torch.cat([y0[: batch_sizes[0]], y[: len(y) - batch_sizes[-1]]])
    parts, first = [y0[: batch_sizes[0]]], 0
    for size, next_size in pairwise(batch_sizes):
        parts.append(y[first : first + next_size])
        first += size
    return torch.cat(parts)
