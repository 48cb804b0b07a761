"""The forward pass of ssd_scan on the CPU in Numba: all chunks of some heads in one call.

    N states, P channels of a head, T steps of a chunk: padded to multiples of 32 with zeros

The matrices of a chunk stay in the cache: C and B of a group, and for each head x, the decayed
C B^T and the state. Nothing waits for other threads until the end of the sequence.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ...cpu.compiled import compiled
from ...cpu.products import add_product
from ...cpu.simd import WIDTH
from ...cpu.simd_math import sigmoid
from ...cpu.simd_memory import load_at, load_one, store_at, store_one
from .cpu_chunk import (
    CHUNK,
    decay_product,
    load_group,
    load_head,
    multiply_group,
    padded,
    place,
    prefetch_row,
    read_state,
    scale,
)

_ONE = np.float32(1)


@njit(error_model="numpy", nogil=True)
def _write(p: Any, c: Any, batch: int, time: int, steps: int, head: int) -> None:
    """y = (y + D x) silu(z), to memory."""
    width, whole = padded(p.channels), p.channels // WIDTH * WIDTH
    for k in range(steps):
        at, gate_at = place(p.y, batch, time + k, head), place(p.z, batch, time + k, head)
        for i in range(0, width, WIDTH):
            row = k * width + i
            value = load_at(c.y, row) + load_at(p.skip, head * width + i) * load_at(c.x, row)
            if i < whole:
                if p.z.memory.shape[0] > 0:
                    gate = load_at(p.z.memory, gate_at + i)
                    value = value * (gate * sigmoid(gate))
                store_at(p.y.memory, at + i, value)
            else:
                store_at(c.y, row, value)
        for i in range(whole, p.channels):
            value = c.y[k * width + i]
            if p.z.memory.shape[0] > 0:
                gate = load_one(p.z.memory, gate_at + i)
                value = value * gate / (_ONE + np.exp(-gate))
            store_one(p.y.memory, at + i, value)


@njit(error_model="numpy", nogil=True)
def _advance(p: Any, c: Any, batch: int, time: int, steps: int, head: int, at: int) -> None:
    """state = total state + B^T (x dt after); x is overwritten. Also prefetch the next head's x."""
    rows, width, states = padded(steps), padded(p.channels), padded(p.states)
    for t in range(rows):
        block, lane = t // WIDTH, t % WIDTH
        prefetch_row(p.x, batch, time + t, head + 1, p.channels)
        scale(c.x, t * width, width, c.dt[block, lane] * c.after[block, lane])
    add_product(
        p.state, at, width, c.B, 0, 1, states, c.x, 0, width, states, width, steps, c.total[0]
    )


@njit(error_model="numpy", nogil=True)
def _save(p: Any, row: int, head: int, at: int) -> None:
    """Save the state before a chunk."""
    width, stored = padded(p.channels), -(-p.channels // WIDTH) * WIDTH
    for n in range(p.states):
        target = ((row * p.heads + head) * p.states + n) * stored
        for i in range(0, stored, WIDTH):
            store_at(p.saved, target + i, load_at(p.state, at + n * width + i))


@compiled()
def forward_heads(
    p: Any, c: Any, earlier: Any, from_sequence: int, sequences: int, first: int, stop: int
) -> None:
    """Heads first to stop - 1 of the sequences from_sequence to sequences - 1."""
    size, per_group = padded(p.states) * padded(p.channels), p.heads // p.groups
    for s in range(from_sequence, sequences):
        batch, start, end = p.bounds[s, 0], p.bounds[s, 1], p.bounds[s, 2]
        row = p.saved_first[s]
        for time in range(start, end, CHUNK):
            steps, group = min(CHUNK, end - time), -1
            for head in range(first, stop):
                if head // per_group != group:
                    group = head // per_group
                    load_group(p, c, batch, time, steps, group)
                    multiply_group(p, c, steps)
                at = (s * p.heads + head) * size
                if p.saved.shape[0] > 0:
                    _save(p, row, head, at)
                load_head(p, c, batch, time, steps, head)
                decay_product(p, c, batch, time, steps, head, earlier)
                read_state(p, c, steps, p.state, at)
                _write(p, c, batch, time, steps, head)
                _advance(p, c, batch, time, steps, head, at)
            row += p.saved_step
