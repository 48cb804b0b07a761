"""The forward loops of selective_scan in Numba: sixteen channels abreast, in chunks of time.

    N state size   T steps of a chunk   rows: numbers of sixteen channels, see cpu/simd.py
    rule           how the input enters: MAMBA delta B u, ZOH ((e^(delta A) - 1) / A) B u,
                   WEIGHTED W B u with a constant W (D, N)

The state before each chunk can be kept: the backward pass starts there and computes the rest
again, so that no (B, D, L, N) array exists. Where channels lie side by side in memory, all blocks
of a thread take a chunk in turn, so that memory is read line after line; where time does, a block
takes all chunks.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from ...cpu.compiled import compiled
from ...cpu.simd import WIDTH, load, spread, store
from ...cpu.simd_math import exp2, sigmoid, softplus, zoh_factor
from ...cpu.tiles import Signal, announce, at, copy_rows, load_tile, store_tile
from .outputs import CHUNK

Array = np.ndarray
MAMBA, ZOH, WEIGHTED = 0, 1, 2
_LN_2 = np.float32(0.6931471805599453)


class Problem(NamedTuple):
    """The inputs as the loops want them; an absent one has no rows."""

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
def place(block: int, group_channels: int) -> tuple[int, int, int]:
    """Group, first channel and number of channels of a block; blocks never span two groups."""
    blocks = (group_channels + WIDTH - 1) // WIDTH
    group, inner = block // blocks, block % blocks
    first = inner * WIDTH
    return group, group * group_channels + first, min(WIDTH, group_channels - first)


@njit(error_model="numpy", nogil=True)
def chunk_index(sequence: int, batch: int, length: int, first: int, start: int) -> int:
    """Where a chunk's state is kept: rows of different sequences never meet."""
    begin = batch * length + start
    return begin // CHUNK + sequence + (first - start) // CHUNK


@njit(error_model="numpy", nogil=True)
def load_steps(p: Any, block: int, first: int, steps: int, dt: Any, decay: Any) -> None:
    """dt holds raw delta: add the bias, apply softplus; decay = step step_scale or dt."""
    bias, scale = load(p.bias, block), load(p.scale, block)
    has_step = p.step.shape[0] > 0
    for k in range(steps):
        value = load(dt, k) + bias
        if p.use_softplus:
            value = softplus(value)
        store(dt, k, value)
        store(decay, k, spread(p.step[first + k]) * scale if has_step else value)


@njit(error_model="numpy", nogil=True)
def _scan_chunk(
    p: Any, block: int, first_B: int, steps: int, h: Any, row: int, u: Any, dt: Any, decay: Any,
    y: Any, out: Any, place: int, following: Any,
) -> None:  # fmt: skip
    """Advance the state h[row : row + N]; y = C h + D u. The chunk's B begins at row first_B.

    Meanwhile fetch this chunk's z and out and the following chunk's u and delta.
    """
    states = p.B.shape[1]
    first, rule, skip = block * states, p.rule, load(p.skip, block)
    for k in range(steps):
        x, size, time = load(u, k), load(dt, k), load(decay, k)
        announce(p.u, following[0], k)
        announce(p.delta, following[1], k)
        announce(p.z, following[2], k)
        announce(out, place, k)
        total = skip * x
        driven = size * x
        for n in range(states):
            rate = load(p.rate, first + n)
            pushed = driven
            if rule == ZOH:
                natural = rate * _LN_2
                pushed = zoh_factor(size, natural, exp2(size * rate)) * x
            elif rule == WEIGHTED:
                pushed = load(p.weight, first + n) * x
            state = exp2(time * rate) * load(h, row + n) + pushed * p.B[first_B + k, n]
            store(h, row + n, state)
            total = total + state * p.C[first_B + k, n]
        store(y, k, total)


@njit(error_model="numpy", nogil=True)
def _gate(y: Any, z: Any, steps: int) -> None:
    for k in range(steps):
        gate = load(z, k)
        store(y, k, load(y, k) * (gate * sigmoid(gate)))  # y gate could overflow


@compiled()
def forward_blocks(
    p: Any, out: Any, last: Any, kept: Any, room: Any, first: int, stop: int, together: int
) -> None:
    """Blocks first to stop - 1 of every sequence; `together` blocks take a chunk in turn.

    last is (sequences blocks N, 16), with the initial state before; kept (chunks blocks N, 16) or
    without rows; room (5 T, 16).
    """
    states, length, blocks = p.B.shape[1], p.length, p.skip.shape[0]
    # Arrays are cut here, not for each chunk: that would count references, thread against thread.
    u, dt, decay = room[:CHUNK], room[CHUNK : 2 * CHUNK], room[2 * CHUNK : 3 * CHUNK]
    y, z = room[3 * CHUNK : 4 * CHUNK], room[4 * CHUNK :]
    for low in range(first, stop, together):
        for s in range(p.bounds.shape[0]):
            batch, start, end = p.bounds[s, 0], p.bounds[s, 1], p.bounds[s, 2]
            for t in range(start, end, CHUNK):
                steps = min(CHUNK, end - t)
                chunk = chunk_index(s, batch, length, t, start) * blocks
                for block in range(low, min(stop, low + together)):
                    group, channel, channels = place(block, p.group_channels)
                    row = (s * blocks + block) * states
                    if kept.shape[0] > 0:
                        copy_rows(last, row, kept, (chunk + block) * states, states)
                    place_u = at(p.u, batch, channel, t)
                    place_delta = at(p.delta, batch, channel, t)
                    place_z, place_y = at(p.z, batch, channel, t), at(out, batch, channel, t)
                    load_tile(p.u, place_u, channels, steps, u)
                    load_tile(p.delta, place_delta, channels, steps, dt)
                    load_steps(p, block, batch * length + t, steps, dt, decay)
                    ahead = CHUNK * p.u.time_gap, CHUNK * p.delta.time_gap
                    following = (place_u + ahead[0], place_delta + ahead[1], place_z)
                    first_B = (batch * p.groups + group) * length + t
                    _scan_chunk(
                        p, block, first_B, steps, last, row, u, dt, decay, y, out, place_y,
                        following,
                    )  # fmt: skip
                    if p.z.memory.shape[0] > 0:
                        load_tile(p.z, place_z, channels, steps, z)
                        _gate(y, z, steps)
                    store_tile(out, place_y, channels, steps, y)
