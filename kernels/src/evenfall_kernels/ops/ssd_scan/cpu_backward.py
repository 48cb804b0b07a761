"""The backward pass of ssd_scan on the CPU in Numba: all chunks of some heads in one call.

    N states, P channels of a head, T steps of a chunk: padded to multiples of 32 with zeros

Chunks run from the last to the first. Each starts from the saved state before it. The gradients of
decays are sums of what flows past each step; no sum has terms that cancel, as differences of
cumulative sums would have. A row of a matrix of steps is the step that is read from, and its
columns are the steps that read it: the transpose of the forward pass.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from ...cpu.compiled import compiled
from ...cpu.products import add_product
from ...cpu.simd import WIDTH, broadcast, load, store, total
from ...cpu.simd_math import sigmoid
from ...cpu.simd_memory import load_at, store_at
from .cpu_chunk import (
    CHUNK,
    PADDING,
    Array,
    Signal,
    decay_product,
    fill,
    load_group,
    load_head,
    make,
    multiply_group,
    padded,
    place,
    prefetch_row,
    read_rows,
    read_state,
    scale,
    transpose,
    write_rows,
)
from .cpu_decays import decays_from

_ZERO, _ONE = np.float32(0), np.float32(1)


class Gradients(NamedTuple):
    """The gradients that all threads share: those of y are read, the others written."""

    y: Signal
    x: Signal
    dt: Array  # (B, L, H), flat
    decay: Array
    skip: Array  # (B, H, P), flat, zeros at the start


class Scratch(NamedTuple):
    """The gradients of a chunk, for one thread: flat, or steps as rows of sixteen."""

    state: Array  # (N, P), the one before the chunk
    C: Array  # (N, T)
    product: Array  # (T, T), B C^T
    matrix: Array  # (T, T), the gradient of (B C^T * decays * dt)
    d_product: Array  # (T, T), summed over the heads of a group
    d_B: Array  # (N, T), likewise
    d_C: Array
    by_head: Array  # (N, T), a head's part of d_C
    by_step: Array  # (T, N), d_B or d_C
    z: Array  # (T, P)
    grad: Array  # (T, P), the gradient of y
    grad_by_channel: Array  # (P, T)
    x_by_channel: Array
    sums: Array  # of the columns of a matrix
    past: Array  # (T,), what flows past a step from earlier ones
    read: Array  # (T,), what flows from the state before the chunk to a step
    pushed: Array  # (T,), what flows from a step to the state after the chunk
    sum_B: Array  # (groups of this thread, L, N), the gradients of B
    sum_C: Array
    first_group: int  # the first of these groups, counted over the batch

    @staticmethod
    def of(channels: int, states: int, sums: tuple[Array, Array], first_group: int) -> Scratch:
        """Memory for padded numbers of channels and states."""
        square, by_state, by_channel = CHUNK * CHUNK, CHUNK * states, CHUNK * channels
        return Scratch(
            state=make(states * channels), C=make(by_state), product=make(square),
            matrix=make(square), d_product=make(square), d_B=make(by_state), d_C=make(by_state),
            by_head=make(by_state), by_step=make(by_state), z=make(by_channel),
            grad=make(by_channel), grad_by_channel=make(by_channel), x_by_channel=make(by_channel),
            sums=make(CHUNK).reshape(-1, WIDTH), past=make(CHUNK), read=make(CHUNK),
            pushed=make(CHUNK), sum_B=sums[0], sum_C=sums[1], first_group=first_group,
        )  # fmt: skip


@njit(error_model="numpy", nogil=True)
def _start_group(p: Any, c: Any, g: Any, batch: int, time: int, steps: int, group: int) -> None:
    """B, C, their products, and zeros for the sums over the group's heads."""
    rows, width = padded(steps), padded(p.states)
    load_group(p, c, batch, time, steps, group)
    if p.z.memory.shape[0] > 0:
        multiply_group(p, c, steps)
    transpose(c.C, rows, width, g.C)
    fill(g.product, 0, rows * rows)
    for s in range(0, rows, WIDTH):  # on and above the diagonal
        at = s // PADDING * PADDING
        add_product(g.product, s * rows + at, rows, c.B, s * width, width, 1, g.C, at, rows,
                    WIDTH, rows - at, p.states, _ONE)  # fmt: skip
    fill(g.d_product, 0, rows * rows)
    fill(g.d_B, 0, width * rows)
    fill(g.d_C, 0, width * rows)


@njit(error_model="numpy", nogil=True)
def _finish_group(p: Any, c: Any, g: Any, batch: int, time: int, steps: int, group: int) -> None:
    """Write the gradients of B and C."""
    rows, width = padded(steps), padded(p.states)
    at = ((batch * p.groups + group - g.first_group) * p.length + time) * p.states
    transpose(g.d_B, width, rows, g.by_step)
    add_product(
        g.by_step, 0, width, g.d_product, 0, rows, 1, c.C, 0, width, rows, width, rows, _ONE
    )
    write_rows(g.by_step, width, g.sum_B, at, p.states, steps, p.states)
    transpose(g.d_C, width, rows, g.by_step)
    add_product(
        g.by_step, 0, width, g.d_product, 0, 1, rows, c.B, 0, width, rows, width, rows, _ONE
    )
    write_rows(g.by_step, width, g.sum_C, at, p.states, steps, p.states)


@njit(error_model="numpy", nogil=True)
def _pass_gate(p: Any, c: Any, g: Any, batch: int, time: int, steps: int, head: int) -> None:
    """From the gradient of y, that of z, to memory, and that before the gate; y has no D x yet."""
    rows, width = padded(steps), padded(p.channels)
    at = place(p.z, batch, time, head)
    read_rows(p.z.memory, at, p.z.time_stride, steps, p.channels, g.z, rows, width)
    for k in range(rows):
        for i in range(0, width, WIDTH):
            row = k * width + i
            y = load_at(c.y, row) + load_at(p.skip, head * width + i) * load_at(c.x, row)
            gate, value = load_at(g.z, row), load_at(g.grad, row)
            open_ = sigmoid(gate)
            store_at(c.y, row, value * y * open_ * (_ONE + gate * (_ONE - open_)))
            store_at(g.grad, row, value * (gate * open_))
    at = place(p.y, batch, time, head)
    write_rows(c.y, width, p.y.memory, at, p.y.time_stride, steps, p.channels)


@njit(error_model="numpy", nogil=True)
def _load_gradient(
    p: Any, c: Any, g: Any, d: Any, batch: int, time: int, steps: int, head: int, earlier: Any
) -> None:
    """The gradient of y before the gate, and its part of that of D."""
    rows, width = padded(steps), padded(p.channels)
    at = place(d.y, batch, time, head)
    read_rows(d.y.memory, at, d.y.time_stride, steps, p.channels, g.grad, rows, width)
    if p.z.memory.shape[0] > 0:
        decay_product(p, c, batch, time, steps, head, earlier)
        read_state(p, c, steps, g.state, 0)
        _pass_gate(p, c, g, batch, time, steps, head)
    target = (batch * p.heads + head) * width
    for i in range(0, width, WIDTH):
        value = load_at(d.skip, target + i)
        for k in range(steps):
            value = value + load_at(g.grad, k * width + i) * load_at(c.x, k * width + i)
        store_at(d.skip, target + i, value)
    transpose(g.grad, rows, width, g.grad_by_channel)
    transpose(c.x, rows, width, g.x_by_channel)


@njit(error_model="numpy", nogil=True)
def _differentiate(
    p: Any, c: Any, g: Any, d: Any, batch: int, time: int, steps: int, head: int, at: int,
    later_lanes: Any,
) -> None:  # fmt: skip
    """matrix = B C^T * decays; the gradient of B C^T is added to d_product. Prefetch that of x.

    past[k] = what flows from steps before k, or from the state, to steps k and later, or to the
    last state, except between the state and the steps.
    """
    rows, width = padded(steps), padded(p.channels)
    fill(g.matrix, 0, rows * rows)
    for s in range(0, rows, WIDTH):
        first = s // PADDING * PADDING
        add_product(g.matrix, s * rows + first, rows, c.x, s * width, width, 1, g.grad_by_channel,
                    first, rows, WIDTH, rows - first, p.channels, _ONE)  # fmt: skip
    cross = broadcast(_ZERO)
    for i in range(0, p.states * width, WIDTH):
        cross = cross + load_at(p.state, at + i) * load_at(g.state, i)
    whole = total(cross) * c.total[0]
    blocks = rows // WIDTH
    for block in range(blocks):
        store(g.sums, block, broadcast(_ZERO))
    g.past[0] = whole
    for s in range(rows):
        prefetch_row(d.x, batch, time + s, head, p.channels)
        size = c.dt[s // WIDTH, s % WIDTH]
        for block in range(s // WIDTH, blocks):
            row = s * rows + block * WIDTH
            value = decays_from(s, block, 0, c.high, c.low, later_lanes)
            pair = load_at(g.product, row)
            store_at(c.matrix, row, value * pair)
            slope = value * load_at(g.matrix, row) * size
            store_at(g.d_product, row, load_at(g.d_product, row) + slope)
            store(g.sums, block, load(g.sums, block) + slope * pair)
        if s + 1 < rows:
            block = (s + 1) // WIDTH
            later = load(g.sums, block) * load(later_lanes, (s + 1) % WIDTH)
            for other in range(block + 1, blocks):
                later = later + load(g.sums, other)
            g.past[s + 1] = whole + total(later)


@njit(error_model="numpy", nogil=True)
def _differentiate_x(
    p: Any, c: Any, g: Any, d: Any, batch: int, time: int, steps: int, head: int, at: int
) -> None:
    """The gradients of x and dt, to memory. Also prefetch the next head's x and gradient."""
    rows, width, states = padded(steps), padded(p.channels), padded(p.states)
    fill(c.y, 0, rows * width)
    add_product(c.y, 0, width, c.B, 0, states, 1, p.state, at, width, rows, width, p.states, _ONE)
    for t in range(rows):
        block, lane = t // WIDTH, t % WIDTH
        weight, pushed = c.after[block, lane], broadcast(_ZERO)
        for i in range(t * width, (t + 1) * width, WIDTH):
            value = load_at(c.y, i) * weight
            pushed = pushed + value * load_at(c.x, i)
            store_at(c.y, i, value)
        g.pushed[t] = total(pushed) * c.dt[block, lane]
    for s in range(0, rows, WIDTH):
        add_product(c.y, s * width, width, c.matrix, s * rows + s, rows, 1, g.grad, s * width,
                    width, WIDTH, width, rows - s, _ONE)  # fmt: skip
    for t in range(steps):
        prefetch_row(p.x, batch, time + t, head + 1, p.channels)
        prefetch_row(d.y, batch, time + t, head + 1, p.channels)
        size, sum_dt = c.dt[t // WIDTH, t % WIDTH], broadcast(_ZERO)
        for i in range(0, width, WIDTH):
            row = t * width + i
            value = load_at(c.y, row)
            sum_dt = sum_dt + value * load_at(c.x, row)
            skipped = load_at(p.skip, head * width + i) * load_at(g.grad, row)
            store_at(c.y, row, value * size + skipped)
        d.dt[(batch * p.length + time + t) * p.heads + head] = total(sum_dt)
    place_x = place(d.x, batch, time, head)
    write_rows(c.y, width, d.x.memory, place_x, d.x.time_stride, steps, p.channels)


@njit(error_model="numpy", nogil=True)
def _differentiate_group(p: Any, c: Any, g: Any, steps: int, at: int) -> None:
    """Add to the gradients of B and C what passes through the states; read = its sums."""
    rows, width, states = padded(steps), padded(p.channels), padded(p.states)
    for i in range(p.channels):
        for block in range(rows // WIDTH):
            scale(g.grad_by_channel, i * rows + block * WIDTH, WIDTH, load(c.before, block))
            weight = load(c.dt, block) * load(c.after, block)
            scale(g.x_by_channel, i * rows + block * WIDTH, WIDTH, weight)
    fill(g.by_head, 0, states * rows)
    add_product(g.by_head, 0, rows, g.state, 0, width, 1, g.grad_by_channel, 0, rows,
                states, rows, p.channels, _ONE)  # fmt: skip
    add_product(g.d_B, 0, rows, p.state, at, width, 1, g.x_by_channel, 0, rows,
                states, rows, p.channels, _ONE)  # fmt: skip
    for t in range(0, rows, WIDTH):
        read = broadcast(_ZERO)
        for i in range(t, p.states * rows, rows):
            value = load_at(g.by_head, i)
            store_at(g.d_C, i, load_at(g.d_C, i) + value)
            read = read + value * load_at(g.C, i)
        store_at(g.read, t, read)


@njit(error_model="numpy", nogil=True)
def _retreat(
    p: Any, c: Any, g: Any, d: Any, batch: int, time: int, steps: int, head: int, at: int
) -> None:
    """The gradient of the decay, and that of the state before the chunk; grad is overwritten."""
    rows, width, states = padded(steps), padded(p.channels), padded(p.states)
    into_later = 0.0  # from the state before the chunk to a step and later ones
    for t in range(steps - 1, -1, -1):
        into_later += np.float64(g.read[t])
        g.past[t] = np.float32(np.float64(g.past[t]) + into_later)
    from_earlier = 0.0  # from steps before a step to the state after the chunk
    for t in range(steps):
        flow = np.float64(g.past[t]) + from_earlier
        d.decay[(batch * p.length + time + t) * p.heads + head] = np.float32(flow)
        from_earlier += np.float64(g.pushed[t])
    for t in range(rows):
        scale(g.grad, t * width, width, c.before[t // WIDTH, t % WIDTH])
    add_product(p.state, at, width, g.C, 0, rows, 1, g.grad, 0, width, states, width, steps,
                c.total[0])  # fmt: skip


@compiled()
def backward_heads(
    p: Any, c: Any, g: Any, d: Any, earlier: Any, later: Any, from_sequence: int, sequences: int,
    first: int, stop: int,
) -> None:  # fmt: skip
    """Heads first to stop - 1 of the sequences from_sequence to sequences - 1."""
    width, stored = padded(p.channels), -(-p.channels // WIDTH) * WIDTH
    size, per_group = padded(p.states) * width, p.heads // p.groups
    for s in range(from_sequence, sequences):
        batch, start, end = p.bounds[s, 0], p.bounds[s, 1], p.bounds[s, 2]
        for index in range((end - start - 1) // CHUNK, -1, -1):
            time, row = start + index * CHUNK, p.saved_first[s] + index * p.saved_step
            steps = min(CHUNK, end - time)
            for head in range(first, stop):
                group = head // per_group
                if head == first or head % per_group == 0:
                    _start_group(p, c, g, batch, time, steps, group)
                at = (s * p.heads + head) * size
                saved = (row * p.heads + head) * p.states * stored
                read_rows(
                    p.saved, saved, stored, p.states, stored, g.state, padded(p.states), width
                )
                load_head(p, c, batch, time, steps, head)
                _load_gradient(p, c, g, d, batch, time, steps, head, earlier)
                _differentiate(p, c, g, d, batch, time, steps, head, at, later)
                _differentiate_x(p, c, g, d, batch, time, steps, head, at)
                _differentiate_group(p, c, g, steps, at)
                _retreat(p, c, g, d, batch, time, steps, head, at)
                if head + 1 == stop or (head + 1) % per_group == 0:
                    _finish_group(p, c, g, batch, time, steps, group)
