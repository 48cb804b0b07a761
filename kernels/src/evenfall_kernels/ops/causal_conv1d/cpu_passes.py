"""The loops of causal_conv1d in Numba: blocks of sixteen channels, chunks of time.

    W filter width   T steps of a chunk   row: one number for each of sixteen channels (cpu/simd.py)

The W - 1 inputs before a chunk are stored in front of it. Each tap then reads the same rows,
shifted by one. With channels-last memory, all blocks of a thread process a chunk before the next
one, which reads memory in order. Where time is contiguous, a block processes all its chunks first.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from ...cpu.compiled import compiled
from ...cpu.simd import WIDTH, broadcast, load, store
from ...cpu.simd_math import sigmoid
from ...cpu.tiles import Signal, copy_rows, load_tile, offset, store_tile

Array = np.ndarray
CHUNK = 64
_ZERO, _ONE = np.float32(0), np.float32(1)


class Problem(NamedTuple):
    """The inputs; a zero state has no rows."""

    x: Signal
    weight: Array  # (D, W)
    bias: Array  # (D,)
    state: Array  # (S, D, W - 1)
    bounds: Array  # (S, 3): batch element, first step, last step + 1
    silu: bool
    blocks_per_chunk: int  # blocks that process a chunk before the next chunk


class Gradients(NamedTuple):
    """The gradients that the backward pass reads and writes."""

    out: Signal
    final: Array  # (S, D, W - 1)
    x: Signal
    weight: Array  # (D, W)
    bias: Array  # (D,)
    state: Array  # (S, D, W - 1)


class Scratch(NamedTuple):
    """Scratch rows of one thread, which has K blocks."""

    x: Array  # (W - 1 + T, 16)
    y: Array  # (T + W - 1, 16), outputs, or the gradients before the activation
    carry: Array  # (K (W - 1), 16), inputs before the chunk, or gradients after it
    filters: Array  # (K (W + 1), 16), taps and bias
    sums: Array  # (K (W + 1), 16), their gradients


@njit(error_model="numpy", nogil=True)
def _load_columns(source: Any, channel: int, channels: int, rows: Any, first: int) -> None:
    """rows[first + w, c] = source[channel + c, w]."""
    for w in range(source.shape[1]):
        for c in range(channels):
            rows[first + w, c] = source[channel + c, w]


@njit(error_model="numpy", nogil=True)
def _store_columns(rows: Any, first: int, target: Any, channel: int, channels: int) -> None:
    """The reverse of _load_columns."""
    for c in range(channels):
        for w in range(target.shape[1]):
            target[channel + c, w] = rows[first + w, c]


@njit(error_model="numpy", nogil=True)
def _load_filters(p: Any, filters: Any, first: int, stop: int) -> None:
    dim, width = p.weight.shape
    filters[:] = _ZERO
    for block in range(first, stop):
        channel, row = block * WIDTH, (block - first) * (width + 1)
        channels = min(WIDTH, dim - channel)
        _load_columns(p.weight, channel, channels, filters, row)
        for c in range(channels):
            filters[row + width, c] = p.bias[channel + c]


@njit(error_model="numpy", nogil=True)
def _load_state(p: Any, s: int, block: int, rows: Any, first: int) -> None:
    """Load the inputs before a sequence."""
    taps, channel = p.weight.shape[1] - 1, block * WIDTH
    rows[first : first + taps] = _ZERO
    if p.state.shape[0] > 0:
        channels = min(WIDTH, p.weight.shape[0] - channel)
        _load_columns(p.state[s], channel, channels, rows, first)


@njit(error_model="numpy", nogil=True)
def _convolve(x: Any, filters: Any, row: int, width: int, k: int) -> Any:
    total = load(filters, row + width)
    for w in range(width):
        total = total + load(filters, row + w) * load(x, k + w)
    return total


@njit(error_model="numpy", nogil=True)
def _chunk_forward(p: Any, out: Any, scratch: Any, row: int, carry: int, block: int, batch: int,
                   t: int, steps: int) -> None:  # fmt: skip
    width, channel = p.weight.shape[1], block * WIDTH
    channels = min(WIDTH, p.weight.shape[0] - channel)
    copy_rows(scratch.carry, carry, scratch.x, 0, width - 1)
    load_tile(p.x, offset(p.x, batch, channel, t), channels, steps, scratch.x[width - 1 :])
    for k in range(steps):
        y = _convolve(scratch.x, scratch.filters, row, width, k)
        store(scratch.y, k, y * sigmoid(y) if p.silu else y)
    store_tile(out, offset(out, batch, channel, t), channels, steps, scratch.y)
    copy_rows(scratch.x, steps, scratch.carry, carry, width - 1)


@compiled()
def forward_blocks(p: Any, out: Any, final: Any, scratch: Any, first: int, stop: int) -> None:
    """Blocks first to stop - 1 of every sequence; final is (S, D, W - 1)."""
    dim, width = p.weight.shape
    _load_filters(p, scratch.filters, first, stop)
    for low in range(first, stop, p.blocks_per_chunk):
        high = min(stop, low + p.blocks_per_chunk)
        for s in range(p.bounds.shape[0]):
            batch, start, end = p.bounds[s, 0], p.bounds[s, 1], p.bounds[s, 2]
            for block in range(low, high):
                _load_state(p, s, block, scratch.carry, (block - first) * (width - 1))
            for t in range(start, end, CHUNK):
                for block in range(low, high):
                    k = block - first
                    _chunk_forward(
                        p, out, scratch, k * (width + 1), k * (width - 1), block, batch, t,
                        min(CHUNK, end - t),
                    )  # fmt: skip
            for block in range(low, high):
                channel = block * WIDTH
                channels = min(WIDTH, dim - channel)
                _store_columns(
                    scratch.carry, (block - first) * (width - 1), final[s], channel, channels
                )


@njit(error_model="numpy", nogil=True)
def _load_inputs(p: Any, scratch: Any, s: int, block: int, t: int, steps: int) -> None:
    """Load the chunk's inputs and the W - 1 inputs before them."""
    taps, channel = p.weight.shape[1] - 1, block * WIDTH
    channels = min(WIDTH, p.weight.shape[0] - channel)
    batch, start = p.bounds[s, 0], p.bounds[s, 1]
    past = min(taps, t - start)  # less than taps only in the first chunks
    if past < taps:
        _load_state(p, s, block, scratch.y, 0)
        copy_rows(scratch.y, past, scratch.x, 0, taps - past)  # inputs before the sequence
    tile = scratch.x[taps - past :]
    load_tile(p.x, offset(p.x, batch, channel, t - past), channels, past + steps, tile)


@njit(error_model="numpy", nogil=True)
def _chunk_backward(p: Any, d: Any, scratch: Any, row: int, carry: int, s: int, block: int, t: int,
                steps: int) -> None:  # fmt: skip
    dim, width = p.weight.shape
    taps, channel, batch, end = width - 1, block * WIDTH, p.bounds[s, 0], p.bounds[s, 2]
    channels = min(WIDTH, dim - channel)
    _load_inputs(p, scratch, s, block, t, steps)
    load_tile(d.out, offset(d.out, batch, channel, t), channels, steps, scratch.y)
    copy_rows(scratch.carry, carry, scratch.y, steps, taps)
    bias = load(scratch.sums, row + width)
    for k in range(steps):
        g = load(scratch.y, k)
        if p.silu:
            y = _convolve(scratch.x, scratch.filters, row, width, k)
            slope = sigmoid(y)
            g = g * slope * (_ONE + y * (_ONE - slope))
            store(scratch.y, k, g)
        bias = bias + g
    store(scratch.sums, row + width, bias)
    for w in range(width):
        tap = load(scratch.sums, row + w)
        for k in range(steps):
            tap = tap + load(scratch.y, k) * load(scratch.x, k + w)
        store(scratch.sums, row + w, tap)
    for k in range(steps):  # the gradients replace the inputs
        total = broadcast(_ZERO)
        for w in range(width):
            total = total + load(scratch.filters, row + w) * load(scratch.y, k + taps - w)
        store(scratch.x, k, total)
    for j in range(max(0, taps - (end - t)), taps - (end - t - steps)):  # from the final state
        for c in range(channels):
            scratch.x[j - taps + end - t, c] += d.final[s, channel + c, j]
    store_tile(d.x, offset(d.x, batch, channel, t), channels, steps, scratch.x)
    copy_rows(scratch.y, 0, scratch.carry, carry, taps)


@njit(error_model="numpy", nogil=True)
def _state_backward(p: Any, d: Any, scratch: Any, row: int, carry: int, s: int, block: int) -> None:
    """The gradient of the initial state, from the first outputs and, if short, the final state."""
    taps, channel = p.weight.shape[1] - 1, block * WIDTH
    channels, length = min(WIDTH, p.weight.shape[0] - channel), p.bounds[s, 2] - p.bounds[s, 1]
    for m in range(taps):
        total = broadcast(_ZERO)
        for w in range(m + 1):
            total = total + load(scratch.filters, row + w) * load(scratch.carry, carry + m - w)
        store(scratch.x, m, total)
        if m >= length:
            for c in range(channels):
                scratch.x[m, c] += d.final[s, channel + c, m - length]
    _store_columns(scratch.x, 0, d.state[s], channel, channels)


@compiled()
def backward_blocks(p: Any, d: Any, scratch: Any, chunk: int, first: int, stop: int) -> None:
    """Blocks first to stop - 1 of every sequence, `chunk` >= W - 1 steps at a time."""
    dim, width = p.weight.shape
    _load_filters(p, scratch.filters, first, stop)
    scratch.sums[:] = _ZERO
    for low in range(first, stop, p.blocks_per_chunk):
        high = min(stop, low + p.blocks_per_chunk)
        for s in range(p.bounds.shape[0]):
            start, end = p.bounds[s, 1], p.bounds[s, 2]
            scratch.carry[(low - first) * (width - 1) : (high - first) * (width - 1)] = _ZERO
            for back in range((end - start + chunk - 1) // chunk - 1, -1, -1):
                t = start + back * chunk
                for block in range(low, high):
                    k = block - first
                    _chunk_backward(
                        p, d, scratch, k * (width + 1), k * (width - 1), s, block, t,
                        min(chunk, end - t),
                    )  # fmt: skip
            for block in range(low, high):
                k = block - first
                _state_backward(p, d, scratch, k * (width + 1), k * (width - 1), s, block)
    for block in range(first, stop):
        channel, row = block * WIDTH, (block - first) * (width + 1)
        channels = min(WIDTH, dim - channel)
        _store_columns(scratch.sums, row, d.weight, channel, channels)
        for c in range(channels):
            d.bias[channel + c] = scratch.sums[row + width, c]
