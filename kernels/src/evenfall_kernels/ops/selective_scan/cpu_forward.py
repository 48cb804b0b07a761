"""The forward loops of selective_scan in Numba: blocks of sixteen channels, chunks of time.

    N state size   T steps of a chunk   row: one number for each of sixteen channels (cpu/simd.py)
    rule           the input term: MAMBA delta B u, ZOH ((e^(delta A) - 1) / A) B u,
                   WEIGHTED W B u with a constant W (D, N), BILINEAR delta / (1 - delta A / 2) B u,
                   with the decay (1 + decay A / 2) / (1 - decay A / 2)

The state before each chunk can be saved: the backward pass starts there and recomputes the other
states, so no (B, D, L, N) array exists. With channels-last memory, all blocks of a thread process a
chunk before the next one, which reads memory in order. Where time is contiguous, a block processes
all its chunks first.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from ...cpu.compiled import compiled
from ...cpu.simd import WIDTH, broadcast, load, store
from ...cpu.simd_math import exp2, sigmoid, softplus, zoh_factor
from ...cpu.tiles import Signal, copy_rows, load_tile, offset, prefetch_line, store_tile
from .outputs import CHUNK

Array = np.ndarray
MAMBA, ZOH, WEIGHTED, BILINEAR = 0, 1, 2, 3
_LN_2, _HALF_LN_2 = np.float32(0.6931471805599453), np.float32(0.34657359027997264)
_ONE = np.float32(1)


class Problem(NamedTuple):
    """The inputs in the form that the loops take; a missing one has no rows."""

    u: Signal
    delta: Signal
    z: Signal
    rate: Array  # A log2(e), (blocks N, 16)
    weight: Array  # W, (blocks N, 16)
    skip: Array  # D, (blocks, 16)
    bias: Array  # delta_bias, (blocks, 16)
    scale: Array  # step_scale, (blocks, 16)
    step: Array  # (B L), or empty
    B: Array  # (B G L, N)
    C: Array  # (B G L, N)
    bounds: Array  # (sequences, 3): batch element, first step, last step + 1
    length: int
    groups: int
    group_channels: int
    rule: int
    use_softplus: bool


@njit(error_model="numpy", nogil=True)
def block_channels(block: int, group_channels: int) -> tuple[int, int, int]:
    """The group, first channel and number of channels of a block."""
    blocks = (group_channels + WIDTH - 1) // WIDTH
    group, inner = block // blocks, block % blocks
    first = inner * WIDTH
    return group, group * group_channels + first, min(WIDTH, group_channels - first)


@njit(error_model="numpy", nogil=True)
def chunk_index(sequence: int, batch: int, length: int, first: int, start: int) -> int:
    """The index of a chunk's saved state; it differs between sequences."""
    begin = batch * length + start
    return begin // CHUNK + sequence + (first - start) // CHUNK


@njit(error_model="numpy", nogil=True)
def load_steps(p: Any, block: int, first: int, steps: int, dt: Any, decay: Any) -> None:
    """dt contains raw delta: add the bias, apply softplus. decay = step step_scale, or dt."""
    bias, scale = load(p.bias, block), load(p.scale, block)
    has_step = p.step.shape[0] > 0
    for k in range(steps):
        value = load(dt, k) + bias
        if p.use_softplus:
            value = softplus(value)
        store(dt, k, value)
        store(decay, k, broadcast(p.step[first + k]) * scale if has_step else value)


def _define_scan(fixed: int | None) -> Any:
    """The loop over a chunk for one rule, known when it is compiled, or for any."""
    is_mamba = fixed == MAMBA

    @njit(error_model="numpy", nogil=True)
    def advance(
        p: Any, n: int, time: Any, size: Any, push: Any, x: Any, rate: Any, h: Any, b: Any
    ) -> Any:
        """The next state. push = delta u, rate and h are row n of the block's rates and states."""
        if is_mamba:
            return exp2(time * rate) * h + push * b
        if p.rule == BILINEAR:
            half = rate * _HALF_LN_2
            power = (_ONE + time * half) / (_ONE - time * half)
            return power * h + size / (_ONE - size * half) * x * b
        if p.rule == ZOH:
            push = zoh_factor(size, rate * _LN_2, exp2(size * rate)) * x
        elif p.rule == WEIGHTED:
            push = load(p.weight, n) * x
        return exp2(time * rate) * h + push * b

    @njit(error_model="numpy", nogil=True)
    def scan(
        p: Any, block: int, first_B: int, steps: int, h: Any, row: int, u: Any, dt: Any,
        decay: Any, y: Any, out: Any, out_offset: int, next_offsets: Any,
    ) -> None:  # fmt: skip
        """Update the state h[row : row + N]; y = C h + D u. The chunk's B starts at row first_B.

        Two steps at a time, so that a state is read and written half as often. Also prefetch this
        tile's z and out, and the next tile's u and delta.
        """
        states, first, skip = p.B.shape[1], block * p.B.shape[1], load(p.skip, block)
        for k in range(steps):
            prefetch_line(p.u, next_offsets[0], k)
            prefetch_line(p.delta, next_offsets[1], k)
            prefetch_line(p.z, next_offsets[2], k)
            prefetch_line(out, out_offset, k)
            if k % 2 == 0 and k + 1 < steps:
                continue
            x, size, time = load(u, k), load(dt, k), load(decay, k)
            push, total, now = size * x, skip * x, first_B + k
            if k % 2 == 0:
                for n in range(states):
                    rate = load(p.rate, first + n)
                    state = load(h, row + n)
                    state = advance(p, first + n, time, size, push, x, rate, state, p.B[now, n])
                    store(h, row + n, state)
                    total = total + state * p.C[now, n]
                store(y, k, total)
                continue
            x_0, size_0, time_0 = load(u, k - 1), load(dt, k - 1), load(decay, k - 1)
            push_0, total_0 = size_0 * x_0, skip * x_0
            for n in range(states):
                rate = load(p.rate, first + n)
                state = load(h, row + n)
                state = advance(
                    p, first + n, time_0, size_0, push_0, x_0, rate, state, p.B[now - 1, n]
                )
                total_0 = total_0 + state * p.C[now - 1, n]
                state = advance(p, first + n, time, size, push, x, rate, state, p.B[now, n])
                total = total + state * p.C[now, n]
                store(h, row + n, state)
            store(y, k - 1, total_0)
            store(y, k, total)

    return scan


_scan_mamba, _scan_any = _define_scan(MAMBA), _define_scan(None)


@njit(error_model="numpy", nogil=True)
def _gate(y: Any, z: Any, steps: int) -> None:
    for k in range(steps):
        gate = load(z, k)
        store(y, k, load(y, k) * (gate * sigmoid(gate)))  # y * gate could overflow


@compiled()
def forward_blocks(
    p: Any, out: Any, last: Any, chunk_states: Any, scratch: Any, first: int, stop: int,
    blocks_per_chunk: int,
) -> None:  # fmt: skip
    """Blocks first to stop - 1 of every sequence; `blocks_per_chunk` process a chunk in turn.

    last is (sequences blocks N, 16) and contains the initial state at the start; chunk_states is
    (chunks blocks N, 16) or has no rows; scratch is (5 T, 16).
    """
    states, length, blocks = p.B.shape[1], p.length, p.skip.shape[0]
    # Sliced once: slicing per chunk would make the threads compete for one reference count.
    u, dt, decay = scratch[:CHUNK], scratch[CHUNK : 2 * CHUNK], scratch[2 * CHUNK : 3 * CHUNK]
    y, z = scratch[3 * CHUNK : 4 * CHUNK], scratch[4 * CHUNK :]
    for low in range(first, stop, blocks_per_chunk):
        for s in range(p.bounds.shape[0]):
            batch, start, end = p.bounds[s, 0], p.bounds[s, 1], p.bounds[s, 2]
            for t in range(start, end, CHUNK):
                steps = min(CHUNK, end - t)
                chunk = chunk_index(s, batch, length, t, start) * blocks
                high = min(stop, low + blocks_per_chunk)
                for block in range(low, high):
                    group, channel, channels = block_channels(block, p.group_channels)
                    row = (s * blocks + block) * states
                    if chunk_states.shape[0] > 0:
                        copy_rows(last, row, chunk_states, (chunk + block) * states, states)
                    at_u = offset(p.u, batch, channel, t)
                    at_delta = offset(p.delta, batch, channel, t)
                    at_z, at_y = offset(p.z, batch, channel, t), offset(out, batch, channel, t)
                    load_tile(p.u, at_u, channels, steps, u)
                    load_tile(p.delta, at_delta, channels, steps, dt)
                    load_steps(p, block, batch * length + t, steps, dt, decay)
                    after, then = (block + 1, t) if block + 1 < high else (low, t + CHUNK)
                    _, next_channel, _ = block_channels(after, p.group_channels)
                    next_u = offset(p.u, batch, next_channel, then)
                    next_delta = offset(p.delta, batch, next_channel, then)
                    first_B = (batch * p.groups + group) * length + t
                    ahead = next_u, next_delta, at_z
                    if p.rule == MAMBA:
                        _scan_mamba(
                            p, block, first_B, steps, last, row, u, dt, decay, y, out, at_y, ahead
                        )
                    else:
                        _scan_any(
                            p, block, first_B, steps, last, row, u, dt, decay, y, out, at_y, ahead
                        )
                    if p.z.memory.shape[0] > 0:
                        load_tile(p.z, at_z, channels, steps, z)
                        _gate(y, z, steps)
                    store_tile(out, at_y, channels, steps, y)
