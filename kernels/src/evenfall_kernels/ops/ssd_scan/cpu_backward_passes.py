"""The loops of ssd_scan's backward pass in Numba.

    R rows of heads   K groups   J heads of a group   T steps, W channels: multiples of sixteen

All arrays are rows of sixteen float32. A row of a matrix of steps is the step that is read from,
and its lanes are the steps that read it: the transpose of the forward pass.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ...cpu.compiled import compiled
from ...cpu.simd import WIDTH, broadcast, load, store, total
from ...cpu.simd_math import sigmoid
from .cpu_passes import decays_from

_ZERO, _ONE = np.float32(0), np.float32(1)


@compiled()
def enter(
    by_head: Any, by_group: Any, before: Any, x: Any, skip: Any, z: Any, grad: Any, d_z: Any,
    d_skip: Any, read: Any, padded: int, heads: int, lanes: int, per_group: int,
    first: int, stop: int,
) -> None:  # fmt: skip
    """For heads first to stop - 1: back through the gate and D; read = before grad.

    With a gate, by_head is the output of the chunk's matrix, grad becomes the gradient before the
    gate, and d_z is written.
    """
    blocks = padded // WIDTH
    for row in range(first, stop):
        head, group, member = row % heads, row // per_group, row % per_group
        for t in range(padded):
            weight = before[row * blocks + t // WIDTH, t % WIDTH]
            at = (row * padded + t) * lanes
            other = ((group * padded + t) * per_group + member) * lanes
            for k in range(lanes):
                value, signal = load(grad, at + k), load(x, at + k)
                if z.shape[0] > 0:
                    gate = load(z, at + k)
                    open_ = sigmoid(gate)
                    y = load(by_head, at + k) + load(by_group, other + k) * weight
                    y = y + load(skip, head * lanes + k) * signal
                    store(d_z, at + k, value * y * open_ * (_ONE + gate * (_ONE - open_)))
                    value = value * (gate * open_)
                    store(grad, at + k, value)
                store(read, other + k, value * weight)
                total_ = load(d_skip, row * lanes + k) + value * signal
                store(d_skip, row * lanes + k, total_)


@njit(error_model="numpy", nogil=True)
def _cross_states(
    state: Any, d_state: Any, row: int, lanes: int, per_group: int, states: int, decay: Any
) -> Any:
    """The sum of state * d_state over a head's elements; then d_state decays."""
    group, member = row // per_group, row % per_group
    sums = broadcast(_ZERO)
    for n in range(states):
        at = ((group * states + n) * per_group + member) * lanes
        for k in range(lanes):
            value = load(d_state, at + k)
            sums = sums + value * load(state, at + k)
            store(d_state, at + k, value * decay)
    return total(sums)


@compiled()
def differentiate(
    dt: Any, high: Any, low: Any, decay: Any, product: Any, matrix: Any, d_matrix: Any, state: Any,
    d_state: Any, past: Any, sums: Any, later_lanes: Any, blocks: int, lanes: int, per_group: int,
    states: int, first: int, stop: int,
) -> None:  # fmt: skip
    """For heads first to stop - 1, from d_matrix, the gradient of (C B^T * decays * dt):

        matrix = C B^T * decays, d_matrix = the gradient of C B^T
        past[k] = what flows from steps before k, or from the state, to steps k and later, or to
        the last state, except between the state and the steps

    d_state decays by the chunk's total decay.
    """
    zero, steps = broadcast(_ZERO), blocks * WIDTH
    for row in range(first, stop):
        group = row // per_group
        whole = (
            _cross_states(state, d_state, row, lanes, per_group, states, decay[row]) * decay[row]
        )
        for block in range(blocks):
            store(sums, block, zero)
        past[row * blocks, 0] = whole
        for s in range(steps):
            size = dt[row * blocks + s // WIDTH, s % WIDTH]
            at, source = (row * steps + s) * blocks, (group * steps + s) * blocks
            for block in range(s // WIDTH):
                store(matrix, at + block, zero)
                store(d_matrix, at + block, zero)
            for block in range(s // WIDTH, blocks):
                value = decays_from(s, block, row * blocks, high, low, later_lanes)
                pair, slope = load(product, source + block), load(d_matrix, at + block)
                store(matrix, at + block, value * pair)
                slope = value * slope * size
                store(d_matrix, at + block, slope)
                store(sums, block, load(sums, block) + slope * pair)
            if s + 1 < steps:
                block = (s + 1) // WIDTH
                later = load(sums, block) * load(later_lanes, (s + 1) % WIDTH)
                for other in range(block + 1, blocks):
                    later = later + load(sums, other)
                past[row * blocks + block, (s + 1) % WIDTH] = whole + total(later)


@compiled()
def leave(
    by_head: Any, by_group: Any, pushed: Any, before: Any, after: Any, dt: Any, x: Any, skip: Any,
    grad: Any, past: Any, d_dt: Any, d_decay: Any, flows: Any, padded: int, heads: int, lanes: int,
    per_group: int, first: int, stop: int,
) -> None:  # fmt: skip
    """For heads first to stop - 1: the gradients of x, written to x, of dt, and of the log decay.

    by_head is the matrix's part of the gradient of dt x, `pushed` that of the state after the
    chunk. `flows` has 2 T elements.
    """
    blocks = padded // WIDTH
    for row in range(first, stop):
        head, group, member = row % heads, row // per_group, row % per_group
        for t in range(padded):
            block, lane = row * blocks + t // WIDTH, t % WIDTH
            size, weight = dt[block, lane], after[block, lane]
            at = (row * padded + t) * lanes
            other = ((group * padded + t) * per_group + member) * lanes
            sum_dt = sum_read = sum_push = broadcast(_ZERO)
            for k in range(lanes):
                signal, slope = load(x, at + k), load(grad, at + k)
                push = load(pushed, other + k) * weight
                value = load(by_head, at + k) + push
                sum_dt = sum_dt + value * signal
                sum_push = sum_push + push * signal
                sum_read = sum_read + slope * load(by_group, other + k)
                store(x, at + k, value * size + load(skip, head * lanes + k) * slope)
            d_dt[block, lane] = total(sum_dt)
            flows[t] = np.float64(total(sum_read) * before[block, lane])
            flows[padded + t] = np.float64(total(sum_push) * size)
        into_later = 0.0  # from the state before the chunk to a step and later ones
        for t in range(padded - 1, -1, -1):
            into_later += flows[t]
            flows[t] = into_later
        from_earlier = 0.0  # from steps before a step to the state after the chunk
        for t in range(padded):
            block, lane = row * blocks + t // WIDTH, t % WIDTH
            flow = np.float64(past[block, lane]) + flows[t] + from_earlier
            d_decay[block, lane] = np.float32(flow)
            from_earlier += flows[padded + t]
