"""The causal depthwise convolution in Triton: one program per tile of channels and steps.

For packed sequences the kernels get, for each step, the first step and the index of its sequence,
so nothing is read back from the device. torch computes the few elements at the ends of a sequence:
the final state and the gradient of the initial state. Sums have a fixed order, without atomics.
Signals have any strides; a tile is long in the direction of contiguous memory.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...common.device import on_its_device
from .edges import add_final_gradient, final_state, segments, state_gradient
from .reference import starting_state

_LONG, _SHORT = 128, 16


@triton.jit
def _input_at(
    x_ptr, x_d, x_t, state_ptr, d, t, inside, first, sequence, dim, width, w,
):  # fmt: skip
    """The input of tap w at steps t: from x, or from the state before the first step."""
    p = t - (width - 1) + w
    after = inside & (p >= first)[None, :]
    before = inside & (p < first)[None, :]
    x = tl.load(x_ptr + d[:, None] * x_d + p[None, :] * x_t, mask=after, other=0.0)
    slot = sequence * dim * (width - 1) + (p - first + width - 1)
    state = tl.load(state_ptr + d[:, None] * (width - 1) + slot[None, :], mask=before, other=0.0)
    return x.to(tl.float32) + state.to(tl.float32)


@triton.jit
def _tile(first_ptr, sequence_ptr, dim, length, PACKED: tl.constexpr, CHANNELS: tl.constexpr,
          STEPS: tl.constexpr):  # fmt: skip
    tiles = tl.cdiv(length, STEPS)
    b = (tl.program_id(0) // tiles).to(tl.int64)
    d = tl.program_id(1).to(tl.int64) * CHANNELS + tl.arange(0, CHANNELS)
    t = (tl.program_id(0) % tiles).to(tl.int64) * STEPS + tl.arange(0, STEPS)
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
    x_b, x_d, x_t, out_b, out_d, out_t, SILU: tl.constexpr, PACKED: tl.constexpr,
    CHANNELS: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    b, d, t, inside, first, sequence = _tile(
        first_ptr, sequence_ptr, dim, length, PACKED, CHANNELS, STEPS
    )
    total = tl.zeros((CHANNELS, STEPS), dtype=tl.float32)
    total += tl.load(bias_ptr + d, mask=d < dim, other=0.0).to(tl.float32)[:, None]
    for w in range(width):
        tap = tl.load(weight_ptr + d * width + w, mask=d < dim, other=0.0).to(tl.float32)
        total += tap[:, None] * _input_at(
            x_ptr + b * x_b, x_d, x_t, state_ptr, d, t, inside, first, sequence, dim, width, w
        )
    if SILU:
        total = total / (1.0 + tl.exp(-total))
    tl.store(out_ptr + b * out_b + d[:, None] * out_d + t[None, :] * out_t, total, mask=inside)


@triton.jit
def _weight_kernel(
    g_ptr, parts_ptr, grad_ptr, x_ptr, weight_ptr, bias_ptr, state_ptr, first_ptr, sequence_ptr,
    dim, length, width, x_b, x_d, x_t, g_b, g_d, g_t, grad_b, grad_d, grad_t,
    SILU: tl.constexpr, PACKED: tl.constexpr, CHANNELS: tl.constexpr,
    STEPS: tl.constexpr,
):  # fmt: skip
    """The gradient before the activation, and the tile's part of the weight and bias gradients."""
    b, d, t, inside, first, sequence = _tile(
        first_ptr, sequence_ptr, dim, length, PACKED, CHANNELS, STEPS
    )
    grad_ptr += b * grad_b
    g = tl.load(grad_ptr + d[:, None] * grad_d + t[None, :] * grad_t, mask=inside, other=0.0).to(
        tl.float32
    )
    if SILU:
        total = tl.zeros((CHANNELS, STEPS), dtype=tl.float32)
        total += tl.load(bias_ptr + d, mask=d < dim, other=0.0).to(tl.float32)[:, None]
        for w in range(width):
            tap = tl.load(weight_ptr + d * width + w, mask=d < dim, other=0.0).to(tl.float32)
            total += tap[:, None] * _input_at(
                x_ptr + b * x_b, x_d, x_t, state_ptr, d, t, inside, first, sequence, dim, width, w
            )
        s = 1.0 / (1.0 + tl.exp(-total))
        g = g * s * (1.0 + total * (1.0 - s))
    tl.store(g_ptr + b * g_b + d[:, None] * g_d + t[None, :] * g_t, g, mask=inside)
    share = parts_ptr + (tl.program_id(0).to(tl.int64) * dim + d) * (width + 1)
    for w in range(width):
        x = _input_at(
            x_ptr + b * x_b, x_d, x_t, state_ptr, d, t, inside, first, sequence, dim, width, w
        )
        tl.store(share + w, tl.sum(g * x, axis=1), mask=d < dim)
    tl.store(share + width, tl.sum(g, axis=1), mask=d < dim)


@triton.jit
def _input_kernel(
    d_x_ptr, g_ptr, weight_ptr, first_ptr, sequence_ptr, dim, length, width, g_b, g_d, g_t,
    PACKED: tl.constexpr, CHANNELS: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """d_x[p] = sum_w weight[w] g[p + W - 1 - w] over later steps of the same sequence."""
    b, d, p, inside, _, sequence = _tile(
        first_ptr, sequence_ptr, dim, length, PACKED, CHANNELS, STEPS
    )
    total = tl.zeros((CHANNELS, STEPS), dtype=tl.float32)
    for w in range(width):
        t = p + width - 1 - w
        same = t < length
        if PACKED:
            same = same & (tl.load(sequence_ptr + t, mask=same, other=-1) == sequence)
        tap = tl.load(weight_ptr + d * width + w, mask=d < dim, other=0.0).to(tl.float32)
        cells = b * g_b + d[:, None] * g_d + t[None, :] * g_t
        total += tap[:, None] * tl.load(g_ptr + cells, mask=inside & same[None, :], other=0.0)
    tl.store(d_x_ptr + b * g_b + d[:, None] * g_d + p[None, :] * g_t, total, mask=inside)


def _tiles(x: Tensor) -> tuple[tuple[int, int], dict[str, int]]:
    """The grid, and the channels and steps of a program.

    Batch rows and tiles of steps share the first axis: the others have a limit of 65,535 programs.
    """
    channels_last = x.stride(1) == 1 and x.stride(2) != 1
    channels, steps = (_LONG, _SHORT) if channels_last else (_SHORT, _LONG)
    grid = x.shape[0] * triton.cdiv(x.shape[2], steps), triton.cdiv(x.shape[1], channels)
    return grid, {"CHANNELS": channels, "STEPS": steps}


def _filters(
    x: Tensor, weight: Tensor, bias: Tensor | None, initial_state: Tensor | None,
    cu_seqlens: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """weight, bias and initial state; None becomes zeros."""
    state = starting_state(x, weight, initial_state, cu_seqlens)
    bias = weight.new_zeros(weight.shape[0]) if bias is None else bias
    return weight.contiguous(), bias.contiguous(), state.contiguous()


@on_its_device
def forward(
    x: Tensor, weight: Tensor, bias: Tensor | None, initial_state: Tensor | None,
    cu_seqlens: Tensor | None, silu: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Backend interface, see reference.forward; float32 inside."""
    filters = _filters(x, weight, bias, initial_state, cu_seqlens)
    grid, tile = _tiles(x)
    out = torch.empty_like(x)
    if out.numel():
        _forward_kernel[grid](
            out, x, *filters, *segments(x, cu_seqlens), *x.shape[1:], weight.shape[1],
            *x.stride(), *out.stride(), SILU=silu, PACKED=cu_seqlens is not None, **tile,
        )  # fmt: skip
    return out, final_state(x, filters[2], cu_seqlens)


@on_its_device
def backward(
    grad_out: Tensor, grad_final: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None,
    initial_state: Tensor | None, cu_seqlens: Tensor | None, silu: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Backend interface, see reference.backward; float32 inside."""
    filters, steps = _filters(x, weight, bias, initial_state, cu_seqlens), segments(x, cu_seqlens)
    (dim, length), width, (grid, tile) = x.shape[1:], weight.shape[1], _tiles(x)
    d_x, g = (torch.empty_like(x, dtype=torch.float32) for _ in range(2))
    parts = torch.zeros(grid[0], dim, width + 1, device=x.device)
    if x.numel():
        sizes, packed = (dim, length, width), cu_seqlens is not None
        _weight_kernel[grid](
            g, parts, grad_out, x, *filters, *steps, *sizes, *x.stride(), *g.stride(),
            *grad_out.stride(), SILU=silu, PACKED=packed, **tile,
        )  # fmt: skip
        _input_kernel[grid](d_x, g, filters[0], *steps, *sizes, *g.stride(), PACKED=packed, **tile)
    shares = parts.sum(0)
    d_state = state_gradient(g, weight, grad_final, cu_seqlens)
    add_final_gradient(d_x, grad_final, cu_seqlens)
    # Copies: with a single channel or none, contiguous() would return views of one tensor.
    as_copy = {"memory_format": torch.contiguous_format, "copy": True}
    return (
        d_x.to(x.dtype),
        shares[:, :width].to(weight.dtype, **as_copy),
        x.new_empty(0) if bias is None else shares[:, width].to(bias.dtype, **as_copy),
        x.new_empty(0) if initial_state is None else d_state.to(initial_state.dtype),
    )
