"""What both passes of ssd_scan on the CPU share: the signals, and a chunk of them for a thread.

N states, P channels of a head, T steps of a chunk: padded to multiples of 32 with zeros
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numba import njit

from ...cpu.products import add_product
from ...cpu.simd import WIDTH, broadcast, load
from ...cpu.simd_memory import load_at, load_one, prefetch, store_at, store_one, transpose_block
from .cpu_decays import decays_to, sum_decays, whole_decays

Array = np.ndarray
CHUNK = 64
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
    y: Signal  # backward the gradient of z
    B: Signal
    C: Signal
    dt: Array  # (B, L, H), flat
    decay: Array  # its logarithm to base e, likewise
    skip: Array  # D, (H, P), flat
    state: Array  # (sequences, H, N, P), flat; backward the gradients of these
    saved: Array  # the states before each chunk, rows of (H, N, W), flat; or empty
    bounds: Array  # (sequences, 3): batch element, first step, last step + 1
    saved_first: Array  # (sequences,), the row of a sequence's first chunk in `saved`
    saved_step: int  # the rows from one chunk to the next
    length: int
    heads: int
    groups: int
    channels: int
    states: int


class Chunk(NamedTuple):
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
    def of(channels: int, states: int) -> Chunk:
        """Memory for padded numbers of channels and states."""
        by_state, square, by_channel = CHUNK * states, CHUNK * CHUNK, CHUNK * channels
        dt, decay, high, low, before, after = (make(CHUNK).reshape(-1, WIDTH) for _ in range(6))
        return Chunk(
            B=make(by_state), C=make(by_state), by_state=make(by_state), product=make(square),
            matrix=make(square), x=make(by_channel), y=make(by_channel), dt=dt, decay=decay,
            high=high, low=low, before=before, after=after, total=make(1),
        )  # fmt: skip


def make(size: int) -> Array:
    """Flat float32 memory."""
    memory: Array = torch.empty(size).numpy()
    return memory


@njit(error_model="numpy", nogil=True)
def padded(size: int) -> int:
    """The next multiple of 32."""
    return -(-size // PADDING) * PADDING


@njit(error_model="numpy", nogil=True)
def fill(target: Any, first: int, size: int) -> None:
    """Zeros; size is a multiple of sixteen."""
    for i in range(0, size, WIDTH):
        store_at(target, first + i, broadcast(_ZERO))


@njit(error_model="numpy", nogil=True)
def scale(target: Any, first: int, size: int, factor: Any) -> None:
    """target[first + i] *= factor for i < size, a multiple of sixteen."""
    for i in range(0, size, WIDTH):
        store_at(target, first + i, load_at(target, first + i) * factor)


@njit(error_model="numpy", nogil=True)
def read_rows(
    source: Any, at: int, stride: int, steps: int, size: int, target: Any, rows: int, width: int
) -> None:
    """target[k, i] = source[at + k stride + i] for i < size and k < steps; other elements are 0."""
    whole = size // WIDTH * WIDTH
    for k in range(steps):
        place, row = at + k * stride, k * width
        for i in range(0, whole, WIDTH):
            store_at(target, row + i, load_at(source, place + i))
        if whole < width:
            fill(target, row + whole, width - whole)
            for i in range(whole, size):
                target[row + i] = load_one(source, place + i)
    fill(target, steps * width, (rows - steps) * width)


@njit(error_model="numpy", nogil=True)
def write_rows(
    source: Any, width: int, target: Any, at: int, stride: int, steps: int, size: int
) -> None:
    """target[at + k stride + i] = source[k, i] for i < size and k < steps."""
    whole = size // WIDTH * WIDTH
    for k in range(steps):
        place, row = at + k * stride, k * width
        for i in range(0, whole, WIDTH):
            store_at(target, place + i, load_at(source, row + i))
        for i in range(whole, size):
            store_one(target, place + i, source[row + i])


@njit(error_model="numpy", nogil=True)
def transpose(source: Any, rows: int, columns: int, target: Any) -> None:
    """target (columns, rows) is the transpose of source; both are multiples of sixteen."""
    for i in range(0, rows, WIDTH):
        for j in range(0, columns, WIDTH):
            transpose_block(source, i * columns + j, columns, target, j * rows + i, rows)


@njit(error_model="numpy", nogil=True)
def place(signal: Any, batch: int, time: int, head: int) -> int:
    """The index in a signal's memory."""
    return batch * signal.batch_stride + time * signal.time_stride + head * signal.head_stride


@njit(error_model="numpy", nogil=True)
def prefetch_row(signal: Any, batch: int, time: int, head: int, channels: int) -> None:
    """Prefetch the channels of one step of a head."""
    at = place(signal, batch, time, head)
    for i in range(0, channels, WIDTH):
        prefetch(signal.memory, at + i)


@njit(error_model="numpy", nogil=True)
def load_group(p: Any, c: Any, batch: int, time: int, steps: int, group: int) -> None:
    """B and C of a group."""
    rows, width = padded(steps), padded(p.states)
    for source, target in ((p.B, c.B), (p.C, c.C)):
        at = place(source, batch, time, group)
        read_rows(source.memory, at, source.time_stride, steps, p.states, target, rows, width)


@njit(error_model="numpy", nogil=True)
def multiply_group(p: Any, c: Any, steps: int) -> None:
    """product = C B^T on and below the diagonal."""
    rows, width = padded(steps), padded(p.states)
    transpose(c.B, rows, width, c.by_state)
    fill(c.product, 0, rows * rows)
    for t in range(0, rows, WIDTH):
        columns = padded(t + WIDTH)
        add_product(c.product, t * rows, rows, c.C, t * width, width, 1, c.by_state, 0, rows,
                    WIDTH, columns, p.states, _ONE)  # fmt: skip


@njit(error_model="numpy", nogil=True)
def load_head(p: Any, c: Any, batch: int, time: int, steps: int, head: int) -> None:
    """x, dt and the decays of a head."""
    rows, width = padded(steps), padded(p.channels)
    at = place(p.x, batch, time, head)
    read_rows(p.x.memory, at, p.x.time_stride, steps, p.channels, c.x, rows, width)
    for k in range(rows):
        at = ((batch * p.length + time + k) * p.heads) + head
        c.dt[k // WIDTH, k % WIDTH] = p.dt[at] if k < steps else _ZERO
        c.decay[k // WIDTH, k % WIDTH] = p.decay[at] if k < steps else _ZERO
    blocks = rows // WIDTH
    sum_decays(0, blocks, c.decay, c.high, c.low)
    whole_decays(0, blocks, c.high, c.low, c.before, c.after, c.total)


@njit(error_model="numpy", nogil=True)
def decay_product(
    p: Any, c: Any, batch: int, time: int, steps: int, head: int, earlier: Any
) -> None:
    """matrix = product * decays * dt. Also prefetch y."""
    rows = padded(steps)
    for t in range(rows):
        prefetch_row(p.y, batch, time + t, head, p.channels)
        for block in range(t // WIDTH + 1):
            value = decays_to(t, block, 0, c.high, c.low, earlier) * load(c.dt, block)
            at = t * rows + block * WIDTH
            store_at(c.matrix, at, value * load_at(c.product, at))


@njit(error_model="numpy", nogil=True)
def read_state(p: Any, c: Any, steps: int, state: Any, at: int) -> None:
    """y = before (C state) + matrix x; the state is at `at`."""
    rows, width, states = padded(steps), padded(p.channels), padded(p.states)
    fill(c.y, 0, rows * width)
    add_product(c.y, 0, width, c.C, 0, states, 1, state, at, width, rows, width, p.states, _ONE)
    for t in range(rows):
        scale(c.y, t * width, width, c.before[t // WIDTH, t % WIDTH])
    for t in range(0, rows, WIDTH):
        add_product(c.y, t * width, width, c.matrix, t * rows, rows, 1, c.x, 0, width,
                    WIDTH, width, t + WIDTH, _ONE)  # fmt: skip
