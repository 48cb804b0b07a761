"""The forward pass of ssd_scan on the CPU in Numba: all chunks of some heads in one call.

    N states, P channels of a head, T steps of a chunk: padded to multiples of 32 with zeros

The matrices of a chunk stay in the cache: C and B of a group, and for each head x, the decayed
C B^T and the state. Nothing waits for other threads until the end of the sequence.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numba import njit

from ...cpu.compiled import compiled
from ...cpu.products import add_product
from ...cpu.simd import WIDTH, broadcast, load
from ...cpu.simd_math import sigmoid
from ...cpu.simd_memory import load_at, load_one, prefetch, store_at, store_one, transpose_block
from .cpu_chunk import CHUNK
from .cpu_passes import decays_to, sum_decays, whole_decays

Array = np.ndarray
PADDING = 2 * WIDTH
_ZERO, _ONE = np.float32(0), np.float32(1)


class Signal(NamedTuple):
    """The memory of a tensor (B, L, H or G, ...), whose last dimension is contiguous.

    bfloat16 is uint16; strides are in elements. Empty memory means None.
    """

    memory: Array
    batch_stride: int
    time_stride: int
    head_stride: int


class Problem(NamedTuple):
    """What all threads share."""

    x: Signal
    z: Signal
    y: Signal
    B: Signal
    C: Signal
    dt: Array  # (B, L, H), flat
    decay: Array  # its logarithm to base e, likewise
    skip: Array  # D, (H, P), flat
    state: Array  # (sequences, H, N, P), flat
    saved: Array  # the states before each chunk, rows of (G, N, J, W), flat; or empty
    earlier: Array
    bounds: Array  # (sequences, 3): batch element, first step, last step + 1
    saved_first: Array  # (sequences,), the row of a sequence's first chunk in `saved`
    saved_step: int  # the rows from one chunk to the next
    length: int
    heads: int
    groups: int
    channels: int
    states: int


class Scratch(NamedTuple):
    """A chunk, for one thread: matrices are flat, and steps are rows of sixteen."""

    B: Array  # (T, N)
    C: Array  # (T, N)
    by_state: Array  # the transpose of B
    product: Array  # (T, T), C B^T
    matrix: Array  # (T, T), times the decays and dt
    x: Array  # (T, P)
    y: Array  # (T, P)
    dt: Array
    decay: Array
    high: Array
    low: Array
    before: Array
    after: Array
    total: Array

    @staticmethod
    def of(channels: int, states: int) -> Scratch:
        """Scratch for padded numbers of channels and states."""

        def make(size: int) -> Array:
            memory: Array = torch.empty(size).numpy()
            return memory

        by_state, square, by_channel = CHUNK * states, CHUNK * CHUNK, CHUNK * channels
        dt, decay, high, low, before, after = (make(CHUNK).reshape(-1, WIDTH) for _ in range(6))
        return Scratch(
            B=make(by_state), C=make(by_state), by_state=make(by_state), product=make(square),
            matrix=make(square), x=make(by_channel), y=make(by_channel), dt=dt, decay=decay,
            high=high, low=low, before=before, after=after, total=make(1),
        )  # fmt: skip


@njit(error_model="numpy", nogil=True)
def padded(size: int) -> int:
    """The next multiple of 32."""
    return -(-size // PADDING) * PADDING


@njit(error_model="numpy", nogil=True)
def _fill(target: Any, first: int, size: int) -> None:
    """Zeros; size is a multiple of sixteen."""
    for i in range(0, size, WIDTH):
        store_at(target, first + i, broadcast(_ZERO))


@njit(error_model="numpy", nogil=True)
def _scale(target: Any, first: int, size: int, factor: Any) -> None:
    for i in range(0, size, WIDTH):
        store_at(target, first + i, load_at(target, first + i) * factor)


@njit(error_model="numpy", nogil=True)
def _read_rows(
    source: Any, at: int, stride: int, steps: int, size: int, target: Any, rows: int, width: int
) -> None:
    """target[k, i] = source[at + k stride + i] for i < size and k < steps; other elements are 0."""
    whole = size // WIDTH * WIDTH
    for k in range(steps):
        place, row = at + k * stride, k * width
        for i in range(0, whole, WIDTH):
            store_at(target, row + i, load_at(source, place + i))
        if whole < width:
            _fill(target, row + whole, width - whole)
            for i in range(whole, size):
                target[row + i] = load_one(source, place + i)
    _fill(target, steps * width, (rows - steps) * width)


@njit(error_model="numpy", nogil=True)
def _place(signal: Any, batch: int, time: int, head: int) -> int:
    return batch * signal.batch_stride + time * signal.time_stride + head * signal.head_stride


@njit(error_model="numpy", nogil=True)
def _prefetch_row(signal: Any, batch: int, time: int, head: int, channels: int) -> None:
    at = _place(signal, batch, time, head)
    for i in range(0, channels, WIDTH):
        prefetch(signal.memory, at + i)


@njit(error_model="numpy", nogil=True)
def _load_group(p: Any, c: Any, batch: int, time: int, steps: int, group: int) -> None:
    """B, C and their product."""
    rows, width = padded(steps), padded(p.states)
    for source, target in ((p.B, c.B), (p.C, c.C)):
        at = _place(source, batch, time, group)
        _read_rows(source.memory, at, source.time_stride, steps, p.states, target, rows, width)
    for s in range(0, rows, WIDTH):
        for n in range(0, width, WIDTH):
            transpose_block(c.B, s * width + n, width, c.by_state, n * rows + s, rows)
    _fill(c.product, 0, rows * rows)
    for t in range(0, rows, WIDTH):  # below the diagonal
        columns = padded(t + WIDTH)
        add_product(c.product, t * rows, rows, c.C, t * width, width, 1, c.by_state, 0, rows,
                    WIDTH, columns, p.states, _ONE)  # fmt: skip


@njit(error_model="numpy", nogil=True)
def _load_head(p: Any, c: Any, batch: int, time: int, steps: int, head: int) -> None:
    """x, dt, the decays, and the matrix. Also prefetch y."""
    rows, width = padded(steps), padded(p.channels)
    at = _place(p.x, batch, time, head)
    _read_rows(p.x.memory, at, p.x.time_stride, steps, p.channels, c.x, rows, width)
    for k in range(rows):
        at = ((batch * p.length + time + k) * p.heads) + head
        c.dt[k // WIDTH, k % WIDTH] = p.dt[at] if k < steps else _ZERO
        c.decay[k // WIDTH, k % WIDTH] = p.decay[at] if k < steps else _ZERO
    blocks = rows // WIDTH
    sum_decays(0, blocks, c.decay, c.high, c.low)
    whole_decays(0, blocks, c.high, c.low, c.before, c.after, c.total)
    for t in range(rows):
        _prefetch_row(p.y, batch, time + t, head, p.channels)
        for block in range(t // WIDTH + 1):
            value = decays_to(t, block, 0, c.high, c.low, p.earlier) * load(c.dt, block)
            at = t * rows + block * WIDTH
            store_at(c.matrix, at, value * load_at(c.product, at))


@njit(error_model="numpy", nogil=True)
def _read_state(p: Any, c: Any, steps: int, at: int) -> None:
    """y = before (C state) + matrix x; the state is at `at`."""
    rows, width, states = padded(steps), padded(p.channels), padded(p.states)
    _fill(c.y, 0, rows * width)
    add_product(c.y, 0, width, c.C, 0, states, 1, p.state, at, width, rows, width, p.states, _ONE)
    for t in range(rows):
        _scale(c.y, t * width, width, c.before[t // WIDTH, t % WIDTH])
    for t in range(0, rows, WIDTH):
        add_product(c.y, t * width, width, c.matrix, t * rows, rows, 1, c.x, 0, width,
                    WIDTH, width, t + WIDTH, _ONE)  # fmt: skip


@njit(error_model="numpy", nogil=True)
def _write(p: Any, c: Any, batch: int, time: int, steps: int, head: int) -> None:
    """y = (y + D x) silu(z), to memory."""
    width, whole = padded(p.channels), p.channels // WIDTH * WIDTH
    for k in range(steps):
        at, gate_at = _place(p.y, batch, time + k, head), _place(p.z, batch, time + k, head)
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
        _prefetch_row(p.x, batch, time + t, head + 1, p.channels)
        _scale(c.x, t * width, width, c.dt[block, lane] * c.after[block, lane])
    add_product(
        p.state, at, width, c.B, 0, 1, states, c.x, 0, width, states, width, steps, c.total[0]
    )


@njit(error_model="numpy", nogil=True)
def _save(p: Any, row: int, head: int, at: int) -> None:
    """Save the state before a chunk."""
    width, lanes = padded(p.channels), -(-p.channels // WIDTH)
    per_group = p.heads // p.groups
    group, member = head // per_group, head % per_group
    for n in range(p.states):
        place = ((row * p.groups + group) * p.states + n) * per_group + member
        for k in range(lanes):
            value = load_at(p.state, at + n * width + k * WIDTH)
            store_at(p.saved, (place * lanes + k) * WIDTH, value)


@compiled()
def scan_heads(p: Any, c: Any, from_sequence: int, sequences: int, first: int, stop: int) -> None:
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
                    _load_group(p, c, batch, time, steps, group)
                at = (s * p.heads + head) * size
                if p.saved.shape[0] > 0:
                    _save(p, row, head, at)
                _load_head(p, c, batch, time, steps, head)
                _read_state(p, c, steps, at)
                _write(p, c, batch, time, steps, head)
                _advance(p, c, batch, time, steps, head, at)
            row += p.saved_step
