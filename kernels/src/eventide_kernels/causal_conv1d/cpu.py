"""Causal depthwise convolution on the CPU in Numba: one channel of one row at a time.

A channel is copied behind its state into a buffer that stays in the first-level cache; every filter
tap, the activation and all gradients are then short vectorised loops over that buffer. Packed
sequences are convolved as if they were one, and the few values at their borders put right. Channels
are shared out to threads, so that no two of them add to the same weight gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import float32, njit
from torch import Tensor

from ..event_matmul.lanes import as_stored
from ..threads import run_split
from ..vector_math import FAST, exp
from .reference import starting_state

_LOOP: dict[str, Any] = {"fastmath": FAST, "error_model": "numpy", "nogil": True}
_SUM: dict[str, Any] = {**_LOOP, "fastmath": FAST | {"reassoc"}}
_PASS: dict[str, Any] = {"error_model": "numpy", "nogil": True, "cache": True}
_BYTES_AN_ELEMENT = 32  # weight of one element in time, as bytes moved


@njit(**_LOOP)
def _copy(out: Any, a: Any) -> None:
    for i in range(a.shape[0]):
        out[i] = a[i]


@njit(**_LOOP)
def _add_scaled(out: Any, a: Any, factor: float) -> None:
    for i in range(out.shape[0]):
        out[i] += factor * a[i]


@njit(**_LOOP)
def _silu(out: Any) -> None:
    for i in range(out.shape[0]):
        out[i] = out[i] / (float32(1) + exp(-out[i]))


@njit(**_LOOP)
def _through_silu(grad: Any, before: Any) -> None:
    """grad <- grad d silu(before) / d before."""
    one = float32(1)
    for i in range(grad.shape[0]):
        s = one / (one + exp(-before[i]))
        grad[i] = grad[i] * s * (one + before[i] * (one - s))


@njit(**_SUM)
def _dot(a: Any, b: Any) -> float:
    total = float32(0)
    for i in range(a.shape[0]):
        total += a[i] * b[i]
    return total


@njit(**_SUM)
def _sum(a: Any) -> float:
    total = float32(0)
    for i in range(a.shape[0]):
        total += a[i]
    return total


@njit(**_LOOP)
def _convolve(out: Any, padded: Any, weight: Any, bias: float) -> None:
    for i in range(out.shape[0]):
        out[i] = bias
    for w in range(weight.shape[0]):
        _add_scaled(out, padded[w : w + out.shape[0]], weight[w])


@njit(**_LOOP)
def _lay_out(padded: Any, x: Any, state: Any, packed: bool) -> None:
    """The state and the row behind it; of packed sequences the row alone."""
    taps = padded.shape[0] - x.shape[0]
    for i in range(taps):
        padded[i] = float32(0) if packed else state[i]
    _copy(padded[taps:], x)


@njit(**_LOOP)
def _correct_heads(
    out: Any, padded: Any, weight: Any, bias: float, state: Any, ends: Any
) -> None:
    """Outputs whose filter reaches beyond the start of their sequence, with its state there."""
    taps = weight.shape[0] - 1
    for s in range(ends.shape[0] - 1):
        for k in range(min(taps, ends[s + 1] - ends[s])):
            total = float32(bias)
            for w in range(taps + 1):
                past = state[s, k + w] if k + w < taps else padded[ends[s] + k + w]
                total += weight[w] * past
            out[ends[s] + k] = total


@njit(**_LOOP)
def _final_states(final: Any, padded: Any, state: Any, ends: Any) -> None:
    taps = final.shape[1]
    for s in range(ends.shape[0] - 1):
        length = ends[s + 1] - ends[s]
        for j in range(taps):
            known = length + j >= taps
            final[s, j] = padded[ends[s + 1] + j] if known else state[s, length + j]


@njit(**_PASS)
def _forward_pass(
    out: Any, final: Any, x: Any, weight: Any, bias: Any, state: Any, ends: Any, packed: bool,
    silu: bool, start: int, stop: int,
) -> None:  # fmt: skip
    width = weight.shape[1]
    length = x.shape[2]
    padded = np.empty(length + width - 1, np.float32)
    for row in range(x.shape[0]):
        for d in range(start, stop):
            y = out[row, d]
            _lay_out(padded, x[row, d], state[row if not packed else 0, d], packed)
            _convolve(y, padded, weight[d], bias[d])
            if packed:
                _correct_heads(y, padded, weight[d], bias[d], state[:, d], ends)
                _final_states(final[:, d], padded, state[:, d], ends)
            else:
                _copy(final[row, d], padded[length:])
            if silu:
                _silu(y)


@njit(**_LOOP)
def _correct_tails(
    d_x: Any, d_state: Any, grad: Any, grad_final: Any, weight: Any, ends: Any
) -> None:
    """Gradients of the states, and of the inputs that the next sequence does not see."""
    taps = weight.shape[0] - 1
    for s in range(ends.shape[0] - 1):
        first, last = ends[s], ends[s + 1]
        for t in range(max(first, last - taps), last):
            total = grad_final[s, t - last + taps]
            for w in range(max(0, t + taps - last + 1), taps + 1):
                total += weight[w] * grad[t + taps - w]
            d_x[t] = total
        for m in range(taps):
            total = grad_final[s, m - last + first] if m >= last - first else float32(0)
            for k in range(min(m + 1, last - first)):
                total += weight[m - k] * grad[first + k]
            d_state[s, m] = total


@njit(**_LOOP)
def _take_heads(d_weight: Any, grad: Any, padded: Any, state: Any, ends: Any) -> None:
    """Move the outputs that saw a state out of the gradient, into that of the filter."""
    taps = d_weight.shape[0] - 1
    for s in range(ends.shape[0] - 1):
        for k in range(min(taps, ends[s + 1] - ends[s])):
            for w in range(taps + 1):
                past = state[s, k + w] if k + w < taps else padded[ends[s] + k + w]
                d_weight[w] += grad[ends[s] + k] * past
            grad[ends[s] + k] = float32(0)


@njit(**_PASS)
def _backward_pass(
    d_x: Any, d_weight: Any, d_bias: Any, d_state: Any, grad_out: Any, grad_final: Any, x: Any,
    weight: Any, bias: Any, state: Any, ends: Any, packed: bool, silu: bool, start: int, stop: int,
) -> None:  # fmt: skip
    width = weight.shape[1]
    length = x.shape[2]
    padded = np.empty(length + width - 1, np.float32)
    d_padded, before, grad = np.empty_like(padded), np.empty_like(padded), np.empty_like(padded)
    g, before = grad[:length], before[:length]
    for row in range(x.shape[0]):
        for d in range(start, stop):
            _lay_out(padded, x[row, d], state[row if not packed else 0, d], packed)
            _copy(g, grad_out[row, d])
            if silu:
                _convolve(before, padded, weight[d], bias[d])
                if packed:
                    _correct_heads(before, padded, weight[d], bias[d], state[:, d], ends)
                _through_silu(g, before)
            d_bias[d] += _sum(g)
            d_padded[:] = 0
            for w in range(width):
                _add_scaled(d_padded[w : w + length], g, weight[d, w])
            if packed:
                _copy(d_x[row, d], d_padded[width - 1 :])
                _correct_tails(
                    d_x[row, d], d_state[:, d], g, grad_final[:, d], weight[d], ends
                )
                _take_heads(d_weight[d], g, padded, state[:, d], ends)
            else:
                _add_scaled(d_padded[length:], grad_final[row, d], float32(1))
                _copy(d_state[row, d], d_padded[: width - 1])
                _copy(d_x[row, d], d_padded[width - 1 :])
            for w in range(width):
                d_weight[d, w] += _dot(g, padded[w : w + length])


def _inputs(
    x: Tensor, weight: Tensor, bias: Tensor | None, initial_state: Tensor | None,
    cu_seqlens: Tensor | None, silu: bool,
) -> tuple[Any, ...]:  # fmt: skip
    state = starting_state(x, weight, initial_state, cu_seqlens)
    bias = weight.new_zeros(weight.shape[0]) if bias is None else bias
    packed = cu_seqlens is not None
    ends = cu_seqlens.cpu().long().numpy() if cu_seqlens is not None else np.zeros(1, np.int64)
    arrays = (as_stored(tensor.float()) for tensor in (x, weight, bias, state))
    return *arrays, ends, packed, silu


def forward(
    x: Tensor, weight: Tensor, bias: Tensor | None, initial_state: Tensor | None,
    cu_seqlens: Tensor | None, silu: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Backend interface, see reference.forward; float32 inside."""
    inputs = _inputs(x, weight, bias, initial_state, cu_seqlens, silu)
    out = torch.empty(x.shape, dtype=torch.float32)
    final = torch.empty(inputs[3].shape, dtype=torch.float32)
    views = out.numpy(), final.numpy()

    def fill(start: int, stop: int) -> None:
        _forward_pass(*views, *inputs, start, stop)

    run_split(fill, x.shape[1], x.numel() * _BYTES_AN_ELEMENT)
    return out.to(x.dtype), final.to(x.dtype)


def backward(
    grad_out: Tensor, grad_final: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None,
    initial_state: Tensor | None, cu_seqlens: Tensor | None, silu: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Backend interface, see reference.backward; float32 inside."""
    inputs = _inputs(x, weight, bias, initial_state, cu_seqlens, silu)
    grads = [as_stored(grad.float()) for grad in (grad_out, grad_final)]
    d_x = torch.empty(x.shape, dtype=torch.float32)
    d_weight = torch.zeros(weight.shape, dtype=torch.float32)
    d_bias = torch.zeros(weight.shape[0], dtype=torch.float32)
    d_state = torch.empty(inputs[3].shape, dtype=torch.float32)
    views = [tensor.numpy() for tensor in (d_x, d_weight, d_bias, d_state)]

    def fill(start: int, stop: int) -> None:
        _backward_pass(*views, *grads, *inputs, start, stop)

    run_split(fill, x.shape[1], 2 * x.numel() * _BYTES_AN_ELEMENT)
    return (
        d_x.to(x.dtype),
        d_weight.to(weight.dtype),
        x.new_empty(0) if bias is None else d_bias.to(bias.dtype),
        x.new_empty(0) if initial_state is None else d_state.to(initial_state.dtype),
    )
