"""Causal depthwise convolution in Triton: one program for a tile of channels and steps.

Packed sequences come with, for each step, the first step of its sequence and which one it is, so
that nothing is read back from the device. The few elements at the edges of a sequence, final state
and gradient of the initial state, are left to torch. Sums are in a fixed order: no atomics.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from .edges import add_final_gradient, final_state, segments, state_gradient
from .reference import starting_state

_CHANNELS, _STEPS = 16, 128


@triton.jit
def _input_at(
    x_ptr, state_ptr, d, t, inside, first, sequence, dim, length, width, w,
):  # fmt: skip
    """Input of tap w of the steps t: from x, or before the sequence's first step from its state."""
    p = t - (width - 1) + w
    known = inside & (p >= first)[None, :]
    before = inside & (p < first)[None, :]
    x = tl.load(x_ptr + d[:, None] * length + p[None, :], mask=known, other=0.0)
    slot = sequence * dim * (width - 1) + (p - first + width - 1)
    state = tl.load(state_ptr + d[:, None] * (width - 1) + slot[None, :], mask=before, other=0.0)
    return x.to(tl.float32) + state.to(tl.float32)


@triton.jit
def _tile(first_ptr, sequence_ptr, dim, length, PACKED: tl.constexpr, CHANNELS: tl.constexpr,
          STEPS: tl.constexpr):  # fmt: skip
    b = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    t = tl.program_id(2) * STEPS + tl.arange(0, STEPS)
    inside = (d < dim)[:, None] & (t < length)[None, :]
    if PACKED:
        first = tl.load(first_ptr + t, mask=t < length, other=0)
        sequence = tl.load(sequence_ptr + t, mask=t < length, other=0)
    else:
        first = tl.zeros((STEPS,), dtype=tl.int64)
        sequence = first + b
    return b, d, t, inside, first, sequence


@triton.jit
def _forward_kernel(
    out_ptr, x_ptr, weight_ptr, bias_ptr, state_ptr, first_ptr, sequence_ptr, dim, length, width,
    SILU: tl.constexpr, PACKED: tl.constexpr, CHANNELS: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    b, d, t, inside, first, sequence = _tile(
        first_ptr, sequence_ptr, dim, length, PACKED, CHANNELS, STEPS
    )
    row = b * dim * length
    total = tl.zeros((CHANNELS, STEPS), dtype=tl.float32)
    total += tl.load(bias_ptr + d, mask=d < dim, other=0.0).to(tl.float32)[:, None]
    for w in range(width):
        tap = tl.load(weight_ptr + d * width + w, mask=d < dim, other=0.0).to(tl.float32)
        total += tap[:, None] * _input_at(
            x_ptr + row, state_ptr, d, t, inside, first, sequence, dim, length, width, w
        )
    if SILU:
        total = total / (1.0 + tl.exp(-total))
    tl.store(out_ptr + row + d[:, None] * length + t[None, :], total, mask=inside)


@triton.jit
def _weight_kernel(
    g_ptr, parts_ptr, grad_ptr, x_ptr, weight_ptr, bias_ptr, state_ptr, first_ptr, sequence_ptr,
    dim, length, width, SILU: tl.constexpr, PACKED: tl.constexpr, CHANNELS: tl.constexpr,
    STEPS: tl.constexpr,
):  # fmt: skip
    """Gradient before the activation, and this tile's share of those of weight and bias."""
    b, d, t, inside, first, sequence = _tile(
        first_ptr, sequence_ptr, dim, length, PACKED, CHANNELS, STEPS
    )
    row = b * dim * length
    cells = row + d[:, None] * length + t[None, :]
    g = tl.load(grad_ptr + cells, mask=inside, other=0.0).to(tl.float32)
    if SILU:
        total = tl.zeros((CHANNELS, STEPS), dtype=tl.float32)
        total += tl.load(bias_ptr + d, mask=d < dim, other=0.0).to(tl.float32)[:, None]
        for w in range(width):
            tap = tl.load(weight_ptr + d * width + w, mask=d < dim, other=0.0).to(tl.float32)
            total += tap[:, None] * _input_at(
                x_ptr + row, state_ptr, d, t, inside, first, sequence, dim, length, width, w
            )
        s = 1.0 / (1.0 + tl.exp(-total))
        g = g * s * (1.0 + total * (1.0 - s))
    tl.store(g_ptr + cells, g, mask=inside)
    tile = b * tl.num_programs(2) + tl.program_id(2)
    share = parts_ptr + tile * dim * (width + 1) + d * (width + 1)
    for w in range(width):
        seen = _input_at(
            x_ptr + row, state_ptr, d, t, inside, first, sequence, dim, length, width, w
        )
        tl.store(share + w, tl.sum(g * seen, axis=1), mask=d < dim)
    tl.store(share + width, tl.sum(g, axis=1), mask=d < dim)


@triton.jit
def _input_kernel(
    d_x_ptr, g_ptr, weight_ptr, first_ptr, sequence_ptr, dim, length, width,
    PACKED: tl.constexpr, CHANNELS: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """d_x[p] = sum_w weight[w] g[p + W - 1 - w] over later steps of the same sequence."""
    b, d, p, inside, first, sequence = _tile(
        first_ptr, sequence_ptr, dim, length, PACKED, CHANNELS, STEPS
    )
    row = b * dim * length
    total = tl.zeros((CHANNELS, STEPS), dtype=tl.float32)
    for w in range(width):
        t = p + width - 1 - w
        same = t < length
        if PACKED:
            same = same & (tl.load(sequence_ptr + t, mask=same, other=-1) == sequence)
        tap = tl.load(weight_ptr + d * width + w, mask=d < dim, other=0.0).to(tl.float32)
        g = tl.load(
            g_ptr + row + d[:, None] * length + t[None, :], mask=inside & same[None, :], other=0.0
        )
        total += tap[:, None] * g
    tl.store(d_x_ptr + row + d[:, None] * length + p[None, :], total, mask=inside)


def _grid(x: Tensor) -> tuple[int, int, int]:
    return x.shape[0], triton.cdiv(x.shape[1], _CHANNELS), triton.cdiv(x.shape[2], _STEPS)


def _inputs(
    x: Tensor, weight: Tensor, bias: Tensor | None, initial_state: Tensor | None,
    cu_seqlens: Tensor | None,
) -> tuple[tuple[Tensor, ...], tuple[Tensor, Tensor], dict[str, Any]]:  # fmt: skip
    state = starting_state(x, weight, initial_state, cu_seqlens)
    bias = weight.new_zeros(weight.shape[0]) if bias is None else bias
    tensors = tuple(tensor.contiguous() for tensor in (x, weight, bias, state))
    options = {"PACKED": cu_seqlens is not None, "CHANNELS": _CHANNELS, "STEPS": _STEPS}
    return tensors, segments(x, cu_seqlens), options


def forward(
    x: Tensor, weight: Tensor, bias: Tensor | None, initial_state: Tensor | None,
    cu_seqlens: Tensor | None, silu: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Backend interface, see reference.forward; float32 inside."""
    tensors, steps, options = _inputs(x, weight, bias, initial_state, cu_seqlens)
    out = torch.empty_like(tensors[0])
    if out.numel():
        _forward_kernel[_grid(x)](
            out, *tensors, *steps, *x.shape[1:], weight.shape[1], SILU=silu, **options
        )
    return out, final_state(x, tensors[3], cu_seqlens).to(x.dtype)


def backward(
    grad_out: Tensor, grad_final: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None,
    initial_state: Tensor | None, cu_seqlens: Tensor | None, silu: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Backend interface, see reference.backward; float32 inside."""
    tensors, steps, options = _inputs(x, weight, bias, initial_state, cu_seqlens)
    (dim, length), width, grid = x.shape[1:], weight.shape[1], _grid(x)
    d_x = torch.empty(x.shape, dtype=torch.float32, device=x.device)
    g = torch.empty_like(d_x)
    parts = torch.empty(grid[0] * grid[2], dim, width + 1, dtype=torch.float32, device=x.device)
    if x.numel():
        sizes = dim, length, width
        grad_out = grad_out.contiguous()
        _weight_kernel[grid](g, parts, grad_out, *tensors, *steps, *sizes, SILU=silu, **options)
        _input_kernel[grid](d_x, g, tensors[1], *steps, *sizes, **options)
    else:
        parts = parts.zero_()
    shares = parts.sum(0)
    d_state = state_gradient(g, weight, grad_final, cu_seqlens)
    add_final_gradient(d_x, grad_final, cu_seqlens)
    return (
        d_x.to(x.dtype),
        shares[:, :width].to(weight.dtype).contiguous(),
        x.new_empty(0) if bias is None else shares[:, width].to(bias.dtype).contiguous(),
        x.new_empty(0) if initial_state is None else d_state.to(initial_state.dtype),
    )
