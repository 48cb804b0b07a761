"""The loops of causal_conv1d in Numba: sixteen channels abreast, in chunks of time.

    W filter width   T steps of a chunk   rows: numbers of sixteen channels, see cpu/simd.py

A chunk lies behind the W - 1 inputs before it; every tap is then the same rows, moved by one.
Where channels lie side by side in memory, all blocks of a thread take a chunk in turn, so that
memory is read line after line; where time does, a block takes all chunks.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from ...cpu.compiled import compiled
from ...cpu.simd import WIDTH, load, spread, store
from ...cpu.simd_math import sigmoid
from ...cpu.tiles import Signal, at, copy_rows, load_tile, store_tile

Array = np.ndarray
CHUNK = 64
_ZERO, _ONE = np.float32(0), np.float32(1)


class Problem(NamedTuple):
    """The inputs; the state has no rows where it is zero."""

    x: Signal
    weight: Array  # (D, W)
    bias: Array  # (D,)
    state: Array  # (S, D, W - 1)
    bounds: Array  # (S, 3): batch element, first step, last step + 1
    silu: bool
    together: int  # blocks that take a chunk in turn


class Gradients(NamedTuple):
    """What the backward pass reads and writes."""

    out: Signal
    final: Array  # (S, D, W - 1)
    x: Signal
    weight: Array  # (D, W)
    bias: Array  # (D,)
    state: Array  # (S, D, W - 1)


class Room(NamedTuple):
    """Rows to work in, one set a thread; K blocks of it."""

    x: Array  # (W - 1 + T, 16)
    y: Array  # (T + W - 1, 16), outputs, or the gradients before the activation
    carried: Array  # (K (W - 1), 16), inputs before the chunk, or gradients behind it
    filters: Array  # (K (W + 1), 16), taps and bias
    sums: Array  # (K (W + 1), 16), their gradients


@njit(error_model="numpy", nogil=True)
def _take_columns(source: Any, channel: int, channels: int, rows: Any, first: int) -> None:
    """rows[first + w, c] = source[channel + c, w]."""
    for w in range(source.shape[1]):
        for c in range(channels):
            rows[first + w, c] = source[channel + c, w]


@njit(error_model="numpy", nogil=True)
def _give_columns(rows: Any, first: int, target: Any, channel: int, channels: int) -> None:
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
        _take_columns(p.weight, channel, channels, filters, row)
        for c in range(channels):
            filters[row + width, c] = p.bias[channel + c]


@njit(error_model="numpy", nogil=True)
def _load_state(p: Any, s: int, block: int, rows: Any, first: int) -> None:
    """The inputs before a sequence."""
    taps, channel = p.weight.shape[1] - 1, block * WIDTH
    rows[first : first + taps] = _ZERO
    if p.state.shape[0] > 0:
        channels = min(WIDTH, p.weight.shape[0] - channel)
        _take_columns(p.state[s], channel, channels, rows, first)


@njit(error_model="numpy", nogil=True)
def _convolve(x: Any, filters: Any, row: int, width: int, k: int) -> Any:
    total = load(filters, row + width)
    for w in range(width):
        total = total + load(filters, row + w) * load(x, k + w)
    return total


@njit(error_model="numpy", nogil=True)
def _chunk_forward(p: Any, out: Any, room: Any, row: int, past: int, block: int, batch: int,
                   t: int, steps: int) -> None:  # fmt: skip
    width, channel = p.weight.shape[1], block * WIDTH
    channels = min(WIDTH, p.weight.shape[0] - channel)
    copy_rows(room.carried, past, room.x, 0, width - 1)
    load_tile(p.x, at(p.x, batch, channel, t), channels, steps, room.x[width - 1 :])
    for k in range(steps):
        y = _convolve(room.x, room.filters, row, width, k)
        store(room.y, k, y * sigmoid(y) if p.silu else y)
    store_tile(out, at(out, batch, channel, t), channels, steps, room.y)
    copy_rows(room.x, steps, room.carried, past, width - 1)


@compiled()
def forward_blocks(p: Any, out: Any, final: Any, room: Any, first: int, stop: int) -> None:
    """Blocks first to stop - 1 of every sequence; final is (S, D, W - 1)."""
    dim, width = p.weight.shape
    _load_filters(p, room.filters, first, stop)
    for low in range(first, stop, p.together):
        high = min(stop, low + p.together)
        for s in range(p.bounds.shape[0]):
            batch, start, end = p.bounds[s, 0], p.bounds[s, 1], p.bounds[s, 2]
            for block in range(low, high):
                _load_state(p, s, block, room.carried, (block - first) * (width - 1))
            for t in range(start, end, CHUNK):
                for block in range(low, high):
                    k = block - first
                    _chunk_forward(
                        p, out, room, k * (width + 1), k * (width - 1), block, batch, t,
                        min(CHUNK, end - t),
                    )  # fmt: skip
            for block in range(low, high):
                channel = block * WIDTH
                channels = min(WIDTH, dim - channel)
                _give_columns(
                    room.carried, (block - first) * (width - 1), final[s], channel, channels
                )


@njit(error_model="numpy", nogil=True)
def _load_inputs(p: Any, room: Any, s: int, block: int, t: int, steps: int) -> None:
    """The chunk's inputs behind those before it."""
    taps, channel = p.weight.shape[1] - 1, block * WIDTH
    channels = min(WIDTH, p.weight.shape[0] - channel)
    batch, start = p.bounds[s, 0], p.bounds[s, 1]
    seen = min(taps, t - start)  # all of them but in the first chunks
    if seen < taps:
        _load_state(p, s, block, room.y, 0)
        copy_rows(room.y, seen, room.x, 0, taps - seen)  # inputs before the sequence
    tile = room.x[taps - seen :]
    load_tile(p.x, at(p.x, batch, channel, t - seen), channels, seen + steps, tile)


@njit(error_model="numpy", nogil=True)
def _chunk_back(p: Any, d: Any, room: Any, row: int, behind: int, s: int, block: int, t: int,
                steps: int) -> None:  # fmt: skip
    dim, width = p.weight.shape
    taps, channel, batch, end = width - 1, block * WIDTH, p.bounds[s, 0], p.bounds[s, 2]
    channels = min(WIDTH, dim - channel)
    _load_inputs(p, room, s, block, t, steps)
    load_tile(d.out, at(d.out, batch, channel, t), channels, steps, room.y)
    copy_rows(room.carried, behind, room.y, steps, taps)
    bias = load(room.sums, row + width)
    for k in range(steps):
        g = load(room.y, k)
        if p.silu:
            y = _convolve(room.x, room.filters, row, width, k)
            slope = sigmoid(y)
            g = g * slope * (_ONE + y * (_ONE - slope))
            store(room.y, k, g)
        bias = bias + g
    store(room.sums, row + width, bias)
    for w in range(width):
        tap = load(room.sums, row + w)
        for k in range(steps):
            tap = tap + load(room.y, k) * load(room.x, k + w)
        store(room.sums, row + w, tap)
    for k in range(steps):  # the inputs are needed no more: their gradients take their place
        total = spread(_ZERO)
        for w in range(width):
            total = total + load(room.filters, row + w) * load(room.y, k + taps - w)
        store(room.x, k, total)
    for j in range(max(0, taps - (end - t)), taps - (end - t - steps)):  # the final state saw them
        for c in range(channels):
            room.x[j - taps + end - t, c] += d.final[s, channel + c, j]
    store_tile(d.x, at(d.x, batch, channel, t), channels, steps, room.x)
    copy_rows(room.y, 0, room.carried, behind, taps)


@njit(error_model="numpy", nogil=True)
def _state_back(p: Any, d: Any, room: Any, row: int, behind: int, s: int, block: int) -> None:
    """From the gradients of the first outputs, and of a final state that still holds the first."""
    taps, channel = p.weight.shape[1] - 1, block * WIDTH
    channels, length = min(WIDTH, p.weight.shape[0] - channel), p.bounds[s, 2] - p.bounds[s, 1]
    for m in range(taps):
        total = spread(_ZERO)
        for w in range(m + 1):
            total = total + load(room.filters, row + w) * load(room.carried, behind + m - w)
        store(room.x, m, total)
        if m >= length:
            for c in range(channels):
                room.x[m, c] += d.final[s, channel + c, m - length]
    _give_columns(room.x, 0, d.state[s], channel, channels)


@compiled()
def backward_blocks(p: Any, d: Any, room: Any, chunk: int, first: int, stop: int) -> None:
    """Blocks first to stop - 1 of every sequence, `chunk` >= W - 1 steps at a time."""
    dim, width = p.weight.shape
    _load_filters(p, room.filters, first, stop)
    room.sums[:] = _ZERO
    for low in range(first, stop, p.together):
        high = min(stop, low + p.together)
        for s in range(p.bounds.shape[0]):
            start, end = p.bounds[s, 1], p.bounds[s, 2]
            room.carried[(low - first) * (width - 1) : (high - first) * (width - 1)] = _ZERO
            for back in range((end - start + chunk - 1) // chunk - 1, -1, -1):
                t = start + back * chunk
                for block in range(low, high):
                    k = block - first
                    _chunk_back(
                        p, d, room, k * (width + 1), k * (width - 1), s, block, t,
                        min(chunk, end - t),
                    )  # fmt: skip
            for block in range(low, high):
                k = block - first
                _state_back(p, d, room, k * (width + 1), k * (width - 1), s, block)
    for block in range(first, stop):
        channel, row = block * WIDTH, (block - first) * (width + 1)
        channels = min(WIDTH, dim - channel)
        _give_columns(room.sums, row, d.weight, channel, channels)
        for c in range(channels):
            d.bias[channel + c] = room.sums[row + width, c]
