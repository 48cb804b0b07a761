"""egru_scan in Triton: matrix products in torch, one fused pointwise kernel per step and direction.

Each program computes one block of units of one sequence. Kernels take whole arrays and row numbers,
so no step creates views. Dimensions as in reference.py.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...common.device import on_its_device
from .steps import backward_steps, forward_steps

_BLOCK = 256


@triton.jit
def _tanh(x):
    return 2 * tl.sigmoid(2 * x) - 1


# Row numbers change with the step: Triton would recompile for 1 and for multiples of 16.
@triton.jit(do_not_specialize=["first", "gates_first"])
def _forward_kernel(
    gates_x, product, bias, threshold, h, keep, gates, candidate, y, c,
    first, gates_first, units, keep_rate, masked: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    b = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * block + tl.arange(0, block)
    live = i < units
    row, gates_row = first + b, gates_first + b
    x, q, out = gates_x + row * 3 * units, product + b * 3 * units, gates + gates_row * 3 * units
    z = tl.sigmoid(
        tl.load(x + i, live, 0.0) + tl.load(q + i, live, 0.0) + tl.load(bias + i, live, 0.0)
    )
    r = tl.sigmoid(
        tl.load(x + units + i, live, 0.0)
        + tl.load(q + units + i, live, 0.0)
        + tl.load(bias + units + i, live, 0.0)
    )
    cand = tl.load(q + 2 * units + i, live, 0.0) + tl.load(bias + 2 * units + i, live, 0.0)
    g = _tanh(tl.load(x + 2 * units + i, live, 0.0) + r * cand)
    state = tl.load(h + b * units + i, live, 0.0)
    cell = z * state + (1 - z) * g
    if masked:
        cell = tl.where(tl.load(keep + row * units + i, live, 1) != 0, cell, state)
    else:
        cell = (cell - state) * keep_rate + state
    thr = tl.load(threshold + i, live, 0.0)
    silent = cell <= thr
    tl.store(out + i, z, live)
    tl.store(out + units + i, r, live)
    tl.store(out + 2 * units + i, g, live)
    tl.store(candidate + gates_row * units + i, cand, live)
    tl.store(c + row * units + i, cell, live)
    tl.store(y + row * units + i, tl.where(silent, 0.0, cell), live)
    tl.store(h + b * units + i, tl.where(silent, cell, cell - thr), live)


@triton.jit(do_not_specialize=["first", "previous"])
def _backward_kernel(
    grad_y, grad_c, gates, candidate, c, threshold, h0, keep, dh, dy, d_threshold, dq, dg,
    first, previous, units, keep_rate, damp, support,
    masked: tl.constexpr, start: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    b = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * block + tl.arange(0, block)
    live = i < units
    row = first + b
    at, at_b = row * units + i, b * units + i
    thr = tl.load(threshold + i, live, 0.0)
    if start:
        state = tl.load(h0 + at_b, live, 0.0)
    else:
        last_cell = tl.load(c + (previous + b) * units + i, live, 0.0)
        state = tl.where(last_cell <= thr, last_cell, last_cell - thr)
    cell = tl.load(c + at, live, 0.0)
    event = (cell > thr).to(tl.float32)
    d_state = tl.load(dh + at_b, live, 0.0)
    d_out = tl.load(grad_y + at, live, 0.0) + tl.load(dy + at_b, live, 0.0)
    slope = damp * tl.maximum(1 - support * tl.abs(cell - thr), 0.0)
    dv = slope * (cell * d_out - thr * d_state)
    total = tl.load(d_threshold + at_b, live, 0.0)
    tl.store(d_threshold + at_b, total - dv - event * d_state, live)
    dc = event * d_out + dv + d_state + tl.load(grad_c + at, live, 0.0)
    rate = keep_rate
    if masked:
        rate = (tl.load(keep + at, live, 1) != 0).to(tl.float32)
    zoneout = (1 - rate) * dc
    dc = rate * dc
    gate = gates + row * 3 * units + i
    z, r = tl.load(gate, live, 0.0), tl.load(gate + units, live, 0.0)
    g = tl.load(gate + 2 * units, live, 0.0)
    dp = (1 - g * g) * (1 - z) * dc
    out = dq + row * 3 * units + i
    tl.store(out, (state - g) * dc * z * (1 - z), live)
    tl.store(out + units, r * (1 - r) * dp * tl.load(candidate + at, live, 0.0), live)
    tl.store(out + 2 * units, r * dp, live)
    tl.store(dg + at, dp, live)
    tl.store(dh + at_b, z * dc + zoneout, live)


def _grid(size: int, units: int) -> tuple[int, int]:
    return size, triton.cdiv(units, _BLOCK)


def _bind_forward(
    gates_x: Tensor, product: Tensor, bias: Tensor, threshold: Tensor, h: Tensor,
    keep: Tensor | None, keep_rate: float, gates: Tensor, candidate: Tensor, y: Tensor, c: Tensor,
) -> Callable[[int, int, int], None]:  # fmt: skip
    units, masked = threshold.numel(), keep is not None
    mask = gates_x if keep is None else keep.view(torch.uint8)

    def run(first: int, size: int, gates_first: int) -> None:
        _forward_kernel[_grid(size, units)](
            gates_x, product, bias, threshold, h, mask, gates, candidate, y, c,
            first, gates_first, units, keep_rate, masked, _BLOCK,
        )  # fmt: skip

    return run


def _bind_backward(
    grad_y: Tensor, grad_c: Tensor, gates: Tensor, candidate: Tensor, c: Tensor,
    threshold: Tensor, h0: Tensor, keep: Tensor | None, keep_rate: float, dh: Tensor, dy: Tensor,
    d_threshold: Tensor, dq: Tensor, dg: Tensor, dampening: float, support: float,
) -> Callable[[int, int, int], None]:  # fmt: skip
    units, masked = threshold.numel(), keep is not None
    mask = c if keep is None else keep.view(torch.uint8)

    def run(first: int, size: int, previous: int) -> None:
        _backward_kernel[_grid(size, units)](
            grad_y, grad_c, gates, candidate, c, threshold, h0, mask, dh, dy, d_threshold, dq, dg,
            first, previous, units, keep_rate, dampening, support, masked, previous < 0, _BLOCK,
        )  # fmt: skip

    return run


@on_its_device
def forward(
    gates_x: Tensor, recurrent_kernel: Tensor, recurrent_bias: Tensor, threshold: Tensor,
    y0: Tensor, h0: Tensor, keep: Tensor | None, keep_rate: float, batch_sizes: list[int],
    dampening: float, support: float, save: bool, event_driven: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Backend interface, see steps.forward_steps."""
    return forward_steps(
        _bind_forward, gates_x, recurrent_kernel, recurrent_bias, threshold, y0, h0, keep,
        keep_rate, batch_sizes, save,
    )  # fmt: skip


@on_its_device
def backward(
    grad_y: Tensor, grad_c: Tensor, grad_h: Tensor, gates: Tensor, candidate: Tensor, y: Tensor,
    c: Tensor, recurrent_kernel: Tensor, recurrent_bias: Tensor, threshold: Tensor, y0: Tensor,
    h0: Tensor, keep: Tensor | None, keep_rate: float, batch_sizes: list[int],
    dampening: float, support: float,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Backend interface, see steps.backward_steps."""
    return backward_steps(
        _bind_backward, grad_y, grad_c, grad_h, gates, candidate, y, c, recurrent_kernel,
        threshold, y0, h0, keep, keep_rate, batch_sizes, dampening, support,
    )  # fmt: skip
