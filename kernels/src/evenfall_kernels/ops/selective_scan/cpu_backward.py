"""The backward loops of selective_scan in Numba, from the last chunk to the first.

With lam the gradient of the state h, a = exp(decay A), w the factor of B u, g that of y:

    lam_k = g_k C_k + a_{k+1} lam_{k+1}           q_k = a_k h_{k-1}
    d decay = sum_n lam A q    dA = sum_k lam decay q    dw = lam B u    du = g D + sum_n lam w B
    dB = sum_d lam w u         dC = sum_d g h            dD = sum g u

A chunk's states are recomputed from the state saved before it. dB and dC are sums over channels:
each is added up in sixteen lanes over all blocks of a thread, and the lanes are added once per
chunk. Letters as in cpu_forward.py.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from ...cpu.compiled import compiled
from ...cpu.simd import broadcast, load, store, total
from ...cpu.simd_math import exp2, sigmoid, zoh_factor, zoh_rate_derivative
from ...cpu.tiles import Signal, copy_rows, load_tile, offset, store_tile
from .cpu_forward import BILINEAR, WEIGHTED, ZOH, block_channels, chunk_index, load_steps
from .outputs import CHUNK

Array = np.ndarray
_LN_2, _HALF_LN_2 = np.float32(0.6931471805599453), np.float32(0.34657359027997264)
_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)


class Gradients(NamedTuple):
    """The gradients that the backward pass writes; sums start at 0."""

    u: Signal
    delta: Signal
    z: Signal
    rate: Array  # dA, (blocks N, 16)
    weight: Array  # (blocks N, 16)
    skip: Array  # (blocks, 16)
    bias: Array  # (blocks, 16)
    scale: Array  # (blocks, 16)
    state: Array  # lam, in the end the gradient of the initial state; (S blocks N, 16)


class Sums(NamedTuple):
    """Gradients that are sums over channels, one set per thread."""

    B: Array  # (B G L, N)
    C: Array  # (B G L, N)
    step: Array  # (B L)


class Tiles(NamedTuple):
    """Scratch rows of sixteen, one set per thread."""

    u: Array  # (T, 16), like the next seven
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
def _recompute(p: Any, w: Any, block: int, first_B: int, steps: int) -> None:
    """All states of the chunk, and y = C h + D u. The chunk's B starts at row first_B."""
    states = p.B.shape[1]
    first, rule, skip = block * states, p.rule, load(p.skip, block)
    for k in range(steps):
        x, size, time = load(w.u, k), load(w.dt, k), load(w.decay, k)
        y = skip * x
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
            state = power * load(w.h, k * states + n) + push * p.B[first_B + k, n]
            store(w.power, k * states + n, power)
            store(w.h, (k + 1) * states + n, state)
            y = y + state * p.C[first_B + k, n]
        store(w.y, k, y)


@njit(error_model="numpy", nogil=True)
def _slopes(p: Any, w: Any, block: int, steps: int) -> None:
    """d softplus(v) / dv = sigmoid(v); w.dt contains raw delta."""
    bias = load(p.bias, block)
    for k in range(steps):
        value = broadcast(_ONE)
        if p.use_softplus:
            value = sigmoid(load(w.dt, k) + bias)
        store(w.slope, k, value)


@njit(error_model="numpy", nogil=True)
def _gate_backward(w: Any, steps: int) -> None:
    """From g, the gradient of y silu(z): the gradient of z to w.z, that of y to w.g."""
    for k in range(steps):
        g, y, z = load(w.g, k), load(w.y, k), load(w.z, k)
        s = sigmoid(z)
        store(w.z, k, g * y * s * (_ONE + z * (_ONE - s)))
        store(w.g, k, g * (z * s))


@njit(error_model="numpy", nogil=True)
def _step_backward(p: Any, w: Any, d: Any, block: int, lam_row: int, at_B: int, k: int) -> Any:
    """One step: updates lam, adds to dA, dW, dB, dC; returns du, d dt and d decay."""
    states = p.B.shape[1]
    first, rule = block * states, p.rule
    x, size, time, g = load(w.u, k), load(w.dt, k), load(w.decay, k), load(w.g, k)
    d_push, d_size, d_decay = broadcast(_ZERO), broadcast(_ZERO), broadcast(_ZERO)
    mamba_push = size * x
    for n in range(states):
        row = k * states + n
        power, rate = load(w.power, row), load(p.rate, first + n)
        lam = load(d.state, lam_row + n) + g * p.C[at_B, n]
        store(d.state, lam_row + n, power * lam)
        if rule == BILINEAR:  # the derivative of (1 + x) / (1 - x) is 2 / (1 - x)^2
            slope_of_power = _ONE / (_ONE - time * (rate * _HALF_LN_2))
            lam_q = lam * load(w.h, row) * (slope_of_power * slope_of_power)
        else:
            lam_q = lam * power * load(w.h, row)
        d_decay = d_decay + lam_q * rate
        d_rate = lam_q * time
        lam_B = lam * p.B[at_B, n]
        push = mamba_push
        if rule == ZOH:
            natural_rate = rate * _LN_2
            zoh_power = exp2(size * rate)
            factor = zoh_factor(size, natural_rate, zoh_power)
            push = factor * x
            d_push = d_push + lam_B * factor
            d_size = d_size + lam_B * zoh_power
            slope = zoh_rate_derivative(size, natural_rate, zoh_power, factor)
            d_rate = d_rate + lam_B * x * slope
        elif rule == BILINEAR:
            slope_of_factor = _ONE / (_ONE - size * (rate * _HALF_LN_2))
            factor = size * slope_of_factor
            push = factor * x
            d_push = d_push + lam_B * factor
            d_size = d_size + lam_B * (slope_of_factor * slope_of_factor)
            d_rate = d_rate + lam_B * x * (factor * factor * _HALF)
        elif rule == WEIGHTED:
            weight = load(p.weight, first + n)
            push = weight * x
            d_push = d_push + lam_B * weight
            store(d.weight, first + n, load(d.weight, first + n) + lam_B * x)
        else:
            d_push = d_push + lam_B
        store(d.rate, first + n, load(d.rate, first + n) + d_rate)
        store(w.d_B, row, load(w.d_B, row) + lam * push)
        store(w.d_C, row, load(w.d_C, row) + g * load(w.h, row + states))
    if rule in (ZOH, BILINEAR):
        d_size = d_size * x
    elif rule != WEIGHTED:
        d_size = d_push * x
        d_push = d_push * size
    return d_push + g * load(p.skip, block), d_size, d_decay * _LN_2


@njit(error_model="numpy", nogil=True)
def _chunk_backward(
    p: Any, w: Any, d: Any, d_step: Any, block: int, lam_row: int, first_B: int, first: int,
    steps: int,
) -> None:  # fmt: skip
    """All steps of a chunk, backwards; w.d_u and w.dt become the gradients of u and raw delta.

    The chunk's B starts at row first_B, its step at `first`.
    """
    d_skip, d_bias, d_scale = load(d.skip, block), load(d.bias, block), load(d.scale, block)
    scale = load(p.scale, block)
    for k in range(steps - 1, -1, -1):
        d_u, d_size, d_decay = _step_backward(p, w, d, block, lam_row, first_B + k, k)
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
def _block_backward(
    p: Any, w: Any, d: Any, d_out: Any, sums: Any, chunk_states: Any,
    block: int, s: int, t: int, steps: int,
) -> None:  # fmt: skip
    """One chunk of one block, which starts at step t of sequence s."""
    batch, start = p.bounds[s, 0], p.bounds[s, 1]
    length, states, blocks = p.length, p.B.shape[1], p.skip.shape[0]
    group, channel, channels = block_channels(block, p.group_channels)
    first_B, first = (batch * p.groups + group) * length + t, batch * length + t
    index = chunk_index(s, batch, length, t, start)
    copy_rows(chunk_states, (index * blocks + block) * states, w.h, 0, states)
    load_tile(p.u, offset(p.u, batch, channel, t), channels, steps, w.u)
    load_tile(p.delta, offset(p.delta, batch, channel, t), channels, steps, w.dt)
    load_tile(d_out, offset(d_out, batch, channel, t), channels, steps, w.g)
    _slopes(p, w, block, steps)
    load_steps(p, block, first, steps, w.dt, w.decay)
    _recompute(p, w, block, first_B, steps)
    if p.z.memory.shape[0] > 0:
        load_tile(p.z, offset(p.z, batch, channel, t), channels, steps, w.z)
        _gate_backward(w, steps)
        store_tile(d.z, offset(d.z, batch, channel, t), channels, steps, w.z)
    lam_row = (s * blocks + block) * states
    _chunk_backward(p, w, d, sums.step, block, lam_row, first_B, first, steps)
    store_tile(d.u, offset(d.u, batch, channel, t), channels, steps, w.d_u)
    store_tile(d.delta, offset(d.delta, batch, channel, t), channels, steps, w.dt)


@njit(error_model="numpy", nogil=True)
def _add_lanes(tile: Any, sums: Any, first: int, steps: int) -> None:
    """sums[first : first + steps] (steps, N) = the rows of the tile, each added to one number."""
    states = sums.shape[1]
    for k in range(steps):
        for n in range(states):
            sums[first + k, n] = total(load(tile, k * states + n))


@compiled()
def backward_blocks(
    p: Any, d_out: Any, chunk_states: Any, d: Any, sums: Any, w: Any, first: int, stop: int
) -> None:
    """Blocks first to stop - 1 of every sequence; d.state is the gradient of the last state."""
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
                    _block_backward(p, w, d, d_out, sums, chunk_states, block, s, t, steps)
                    block += 1
                first_B = (batch * p.groups + group) * p.length + t
                _add_lanes(w.d_B, sums.B, first_B, steps)
                _add_lanes(w.d_C, sums.C, first_B, steps)
