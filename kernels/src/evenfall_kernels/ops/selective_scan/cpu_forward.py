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


@njit(error_model="numpy", nogil=True)
def _scan_chunk(
    p: Any, block: int, first_B: int, steps: int, h: Any, row: int, u: Any, dt: Any, decay: Any,
    y: Any, out: Any, out_offset: int, next_offsets: Any,
) -> None:  # fmt: skip
    """Update the state h[row : row + N]; y = C h + D u. The chunk's B starts at row first_B.

    Also prefetch this chunk's z and out, and the next chunk's u and delta.
    """
    states = p.B.shape[1]
    first, rule, skip = block * states, p.rule, load(p.skip, block)
    for k in range(steps):
        x, size, time = load(u, k), load(dt, k), load(decay, k)
        prefetch_line(p.u, next_offsets[0], k)
        prefetch_line(p.delta, next_offsets[1], k)
        prefetch_line(p.z, next_offsets[2], k)
        prefetch_line(out, out_offset, k)
        total = skip * x
        mamba_push = size * x
        for n in range(states):
            rate = load(p.rate, first + n)
            push = mamba_push
            if rule == ZOH:
                push = zoh_factor(size, rate * _LN_2, exp2(size * rate)) * x
            elif rule == WEIGHTED:
                push = load(p.weight, first + n) * x
            if rule == BILINEAR:
                half = rate * _HALF_LN_2
                push = size / (_ONE - size * half) * x
                power = (_ONE + time * half) / (_ONE - time * half)
            else:
                power = exp2(time * rate)
            state = power * load(h, row + n) + push * p.B[first_B + k, n]
            store(h, row + n, state)
            total = total + state * p.C[first_B + k, n]
        store(y, k, total)


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
                for block in range(low, min(stop, low + blocks_per_chunk)):
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
                    next_u = at_u + CHUNK * p.u.time_stride
                    next_delta = at_delta + CHUNK * p.delta.time_stride
                    first_B = (batch * p.groups + group) * length + t
                    _scan_chunk(
                        p, block, first_B, steps, last, row, u, dt, decay, y, out, at_y,
                        (next_u, next_delta, at_z),
                    )  # fmt: skip
                    if p.z.memory.shape[0] > 0:
                        load_tile(p.z, at_z, channels, steps, z)
                        _gate(y, z, steps)
                    store_tile(out, at_y, channels, steps, y)
