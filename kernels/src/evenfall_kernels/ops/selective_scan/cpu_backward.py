"""The backward loops of selective_scan in Numba, from the last chunk to the first.

With lam the gradient of the state h, a = exp(decay A), w the factor of B u, g that of y:

    lam_k = g_k C_k + a_{k+1} lam_{k+1}           q_k = a_k h_{k-1}
    d decay = sum_n lam A q    dA = sum_k lam decay q    dw = lam B u    du = g D + sum_n lam w B
    dB = sum_d lam w u         dC = sum_d g h            dD = sum g u

A chunk's states are computed again from the state kept before it. The sums over channels, dB and
dC, grow sixteen channels abreast over all blocks of a thread and are folded once a chunk.
Letters as in cpu_forward.py.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from ...cpu.compiled import compiled
from ...cpu.simd import load, spread, store, total
from ...cpu.simd_math import exp2, sigmoid, zoh_factor, zoh_rate_derivative
from ...cpu.tiles import Signal, at, copy_rows, load_tile, store_tile
from .cpu_forward import WEIGHTED, ZOH, chunk_index, load_steps, place
from .outputs import CHUNK

Array = np.ndarray
_LN_2 = np.float32(0.6931471805599453)
_ZERO, _ONE = np.float32(0), np.float32(1)


class Gradients(NamedTuple):
    """What the backward pass writes; sums start at 0."""

    u: Signal
    delta: Signal
    z: Signal
    rate: Array  # dA, (blocks N, 16)
    weight: Array  # (blocks N, 16)
    skip: Array  # (blocks, 16)
    bias: Array  # (blocks, 16)
    scale: Array  # (blocks, 16)
    state: Array  # lam while it runs, then the gradient of the initial state; (S blocks N, 16)


class Shared(NamedTuple):
    """Sums over channels, one set a thread."""

    B: Array  # (B G L, N)
    C: Array  # (B G L, N)
    step: Array  # (B L)


class Tiles(NamedTuple):
    """Room to work in, rows of sixteen, one set a thread."""

    u: Array  # (T, 16) as the next seven
    dt: Array
    decay: Array
    z: Array
    g: Array
    y: Array
    slope: Array  # d dt / d delta
    d_u: Array
    power: Array  # a, (T N, 16)
    h: Array  # ((T + 1) N, 16), the state before the chunk first
    d_B: Array  # (T N, 16)
    d_C: Array  # (T N, 16)


@njit(error_model="numpy", nogil=True)
def _replay(p: Any, w: Any, block: int, first_B: int, steps: int) -> None:
    """All states of the chunk, and y = C h + D u. The chunk's B begins at row first_B."""
    states = p.B.shape[1]
    first, rule, skip = block * states, p.rule, load(p.skip, block)
    for k in range(steps):
        x, size, time = load(w.u, k), load(w.dt, k), load(w.decay, k)
        y = skip * x
        driven = size * x
        for n in range(states):
            rate = load(p.rate, first + n)
            pushed = driven
            if rule == ZOH:
                pushed = zoh_factor(size, rate * _LN_2, exp2(size * rate)) * x
            elif rule == WEIGHTED:
                pushed = load(p.weight, first + n) * x
            power = exp2(time * rate)
            state = power * load(w.h, k * states + n) + pushed * p.B[first_B + k, n]
            store(w.power, k * states + n, power)
            store(w.h, (k + 1) * states + n, state)
            y = y + state * p.C[first_B + k, n]
        store(w.y, k, y)


@njit(error_model="numpy", nogil=True)
def _slopes(p: Any, w: Any, block: int, steps: int) -> None:
    """d softplus(v) / dv = sigmoid(v), from raw delta still in w.dt."""
    bias = load(p.bias, block)
    for k in range(steps):
        value = spread(_ONE)
        if p.use_softplus:
            value = sigmoid(load(w.dt, k) + bias)
        store(w.slope, k, value)


@njit(error_model="numpy", nogil=True)
def _ungate(w: Any, steps: int) -> None:
    """From g of y silu(z): the gradient of z into w.z, that of y into w.g."""
    for k in range(steps):
        g, y, z = load(w.g, k), load(w.y, k), load(w.z, k)
        s = sigmoid(z)
        store(w.z, k, g * y * s * (_ONE + z * (_ONE - s)))
        store(w.g, k, g * (z * s))


@njit(error_model="numpy", nogil=True)
def _step_back(p: Any, w: Any, d: Any, block: int, lam_row: int, at_B: int, k: int) -> Any:
    """One step: advances lam, adds to dA, dW, dB, dC; returns du, d dt and d decay."""
    states = p.B.shape[1]
    first, rule = block * states, p.rule
    x, size, time, g = load(w.u, k), load(w.dt, k), load(w.decay, k), load(w.g, k)
    into_push, into_size, into_time = spread(_ZERO), spread(_ZERO), spread(_ZERO)
    driven = size * x
    for n in range(states):
        row = k * states + n
        power, rate = load(w.power, row), load(p.rate, first + n)
        lam = load(d.state, lam_row + n) + g * p.C[at_B, n]
        store(d.state, lam_row + n, power * lam)
        lam_q = lam * power * load(w.h, row)
        into_time = into_time + lam_q * rate
        d_rate = lam_q * time
        lam_B = lam * p.B[at_B, n]
        pushed = driven
        if rule == ZOH:
            natural = rate * _LN_2
            grown = exp2(size * rate)
            factor = zoh_factor(size, natural, grown)
            pushed = factor * x
            into_push = into_push + lam_B * factor
            into_size = into_size + lam_B * grown
            d_rate = d_rate + lam_B * x * zoh_rate_derivative(size, natural, grown, factor)
        elif rule == WEIGHTED:
            weight = load(p.weight, first + n)
            pushed = weight * x
            into_push = into_push + lam_B * weight
            store(d.weight, first + n, load(d.weight, first + n) + lam_B * x)
        else:
            into_push = into_push + lam_B
        store(d.rate, first + n, load(d.rate, first + n) + d_rate)
        store(w.d_B, row, load(w.d_B, row) + lam * pushed)
        store(w.d_C, row, load(w.d_C, row) + g * load(w.h, row + states))
    if rule == ZOH:
        into_size = into_size * x
    elif rule != WEIGHTED:
        into_size = into_push * x
        into_push = into_push * size
    return into_push + g * load(p.skip, block), into_size, into_time * _LN_2


@njit(error_model="numpy", nogil=True)
def _chunk_back(
    p: Any, w: Any, d: Any, d_step: Any, block: int, lam_row: int, first_B: int, first: int,
    steps: int,
) -> None:  # fmt: skip
    """The steps of a chunk backwards; w.d_u and w.dt become the gradients of u and raw delta.

    The chunk's B begins at row first_B, its step at `first`.
    """
    d_skip, d_bias, d_scale = load(d.skip, block), load(d.bias, block), load(d.scale, block)
    scale = load(p.scale, block)
    for k in range(steps - 1, -1, -1):
        d_u, d_size, d_decay = _step_back(p, w, d, block, lam_row, first_B + k, k)
        if p.step.shape[0] > 0:
            d_scale = d_scale + d_decay * p.step[first + k]
            d_step[first + k] += total(d_decay * scale)
        else:
            d_size = d_size + d_decay
        d_delta = d_size * load(w.slope, k)
        d_bias = d_bias + d_delta
        d_skip = d_skip + load(w.g, k) * load(w.u, k)
        store(w.d_u, k, d_u)
        store(w.dt, k, d_delta)
    store(d.skip, block, d_skip)
    store(d.bias, block, d_bias)
    store(d.scale, block, d_scale)


@njit(error_model="numpy", nogil=True)
def _block_back(
    p: Any, w: Any, d: Any, d_out: Any, shared: Any, kept: Any,
    block: int, s: int, t: int, steps: int,
) -> None:  # fmt: skip
    batch, start = p.bounds[s, 0], p.bounds[s, 1]
    length, states, blocks = p.length, p.B.shape[1], p.skip.shape[0]
    group, channel, channels = place(block, p.group_channels)
    first_B, first = (batch * p.groups + group) * length + t, batch * length + t
    index = chunk_index(s, batch, length, t, start)
    copy_rows(kept, (index * blocks + block) * states, w.h, 0, states)
    load_tile(p.u, at(p.u, batch, channel, t), channels, steps, w.u)
    load_tile(p.delta, at(p.delta, batch, channel, t), channels, steps, w.dt)
    load_tile(d_out, at(d_out, batch, channel, t), channels, steps, w.g)
    _slopes(p, w, block, steps)
    load_steps(p, block, first, steps, w.dt, w.decay)
    _replay(p, w, block, first_B, steps)
    if p.z.memory.shape[0] > 0:
        load_tile(p.z, at(p.z, batch, channel, t), channels, steps, w.z)
        _ungate(w, steps)
        store_tile(d.z, at(d.z, batch, channel, t), channels, steps, w.z)
    lam_row = (s * blocks + block) * states
    _chunk_back(p, w, d, shared.step, block, lam_row, first_B, first, steps)
    store_tile(d.u, at(d.u, batch, channel, t), channels, steps, w.d_u)
    store_tile(d.delta, at(d.delta, batch, channel, t), channels, steps, w.dt)


@njit(error_model="numpy", nogil=True)
def _fold(tile: Any, sums: Any, first: int, steps: int) -> None:
    """sums[first : first + steps] (steps, N) = the rows of the tile, each folded to one number."""
    states = sums.shape[1]
    for k in range(steps):
        for n in range(states):
            sums[first + k, n] = total(load(tile, k * states + n))


@compiled()
def backward_blocks(
    p: Any, d_out: Any, kept: Any, d: Any, shared: Any, w: Any, first: int, stop: int
) -> None:
    """Blocks first to stop - 1 of every sequence; d.state holds the gradient of the last state."""
    states = p.B.shape[1]
    group_blocks = p.skip.shape[0] // p.groups
    for s in range(p.bounds.shape[0]):
        batch, start, end = p.bounds[s, 0], p.bounds[s, 1], p.bounds[s, 2]
        for back in range((end - start + CHUNK - 1) // CHUNK - 1, -1, -1):
            t = start + back * CHUNK
            steps = min(CHUNK, end - t)
            block = first
            while block < stop:
                group = block // group_blocks
                group_stop = min(stop, (group + 1) * group_blocks)
                w.d_B[: steps * states] = _ZERO
                w.d_C[: steps * states] = _ZERO
                while block < group_stop:
                    _block_back(p, w, d, d_out, shared, kept, block, s, t, steps)
                    block += 1
                first_B = (batch * p.groups + group) * p.length + t
                _fold(w.d_B, shared.B, first_B, steps)
                _fold(w.d_C, shared.C, first_B, steps)
