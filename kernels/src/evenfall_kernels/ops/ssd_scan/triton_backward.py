"""The kernels of ssd_scan's backward pass in Triton, in parallel over chunks.

    T steps of a chunk   P channels of a head   N states

`states` are those before the chunks, `d_states` the gradients of those after them. Gradients of
decays are sums of what flows past each step; no sum has terms that cancel. Nothing is added
atomically.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .triton_math import (
    decays_between,
    decays_to_end,
    dot,
    last_of,
    locate,
    read_steps,
    read_tile,
    state_cells,
    sum_decays,
    write_tile,
)


@triton.jit
def head_kernel(
    x, dt, log_decay, B, C, D, grad, states, d_states, d_x, d_dt, d_decay, d_skip, begins, ends,
    heads, channels, width, groups, padded,
    precision: tl.constexpr, block_t: tl.constexpr, block_p: tl.constexpr, block_n: tl.constexpr,
):  # fmt: skip
    """The gradients of x, dt and log_decay of a chunk and head, and its part of that of D."""
    chunk, head, rows, live = locate(begins, ends, heads, block_t)
    group = head * groups // heads
    t = tl.arange(0, block_t)
    high, low = sum_decays(log_decay, rows, live, heads, head)
    before, after = tl.exp(high + low), decays_to_end(high, low, block_t)
    size = read_steps(dt, rows, live, heads, head)
    product = tl.zeros((block_t, block_t), tl.float32)
    for start in range(0, width, block_n):
        n = start + tl.arange(0, block_n)
        b = read_tile(B, rows, live, groups, group, width, n)
        c = read_tile(C, rows, live, groups, group, width, n)
        product += dot(c, tl.trans(b), precision)
    product *= decays_between(high, low, block_t)
    d_matrix = tl.zeros((block_t, block_t), tl.float32)
    whole = tl.zeros((block_p,), tl.float32)
    sum_dt = tl.zeros((block_t,), tl.float32)
    sum_push = tl.zeros((block_t,), tl.float32)
    sum_read = tl.zeros((block_t,), tl.float32)
    for first in range(0, channels, block_p):
        p = first + tl.arange(0, block_p)
        inside_p = (p < channels)[:, None]
        read = tl.zeros((block_t, block_p), tl.float32)
        push = tl.zeros((block_t, block_p), tl.float32)
        for start in range(0, width, block_n):
            n = start + tl.arange(0, block_n)
            cells, inside = state_cells(states, chunk, heads, head, padded, p, width, n)
            state = tl.load(cells, inside & inside_p, 0.0)
            cells, inside = state_cells(d_states, chunk, heads, head, padded, p, width, n)
            d_state = tl.load(cells, inside & inside_p, 0.0)
            whole += tl.sum(state * d_state, 1)
            c = read_tile(C, rows, live, groups, group, width, n)
            read += dot(c, tl.trans(state), precision)
            b = read_tile(B, rows, live, groups, group, width, n)
            push += dot(b, tl.trans(d_state), precision)
        signal = read_tile(x, rows, live, heads, head, channels, p)
        slope = read_tile(grad, rows, live, heads, head, channels, p)
        sum_read += tl.sum(slope * read, 1)
        push *= after[:, None]
        sum_push += tl.sum(push * signal, 1)
        d_matrix += dot(slope, tl.trans(signal), precision)
        push += dot(tl.trans(product), slope, precision)
        sum_dt += tl.sum(push * signal, 1)
        skip = tl.load(D + head * channels + p, p < channels, 0.0).to(tl.float32)
        value = push * size[:, None] + skip[None, :] * slope
        write_tile(d_x, value, rows, live, heads, head, channels, p)
        at = d_skip + (chunk * heads + head) * channels + p
        tl.store(at, tl.sum(slope * signal, 0), p < channels)
    flow = d_matrix * product * size[None, :]  # from the column's step to the row's
    flow = tl.cumsum(flow, 0, reverse=True)  # to the row's step and later ones
    past = tl.sum(tl.where(t[None, :] < t[:, None], flow, 0.0), 1)
    past += tl.cumsum(before * sum_read, 0, reverse=True)  # from the state before the chunk
    pushed = size * sum_push  # from a step to the state after the chunk
    past += tl.sum(tl.where(t[None, :] < t[:, None], pushed[None, :], 0.0), 1)
    past += tl.exp(last_of(high + low, block_t)) * tl.sum(whole, 0)
    tl.store(d_dt + rows * heads + head, sum_dt, live)
    tl.store(d_decay + rows * heads + head, past, live)


@triton.jit
def group_kernel(
    x, dt, log_decay, B, C, grad, states, d_states, d_B, d_C, begins, ends,
    heads, channels, width, groups, padded,
    precision: tl.constexpr, block_t: tl.constexpr, block_p: tl.constexpr, block_n: tl.constexpr,
):  # fmt: skip
    """The gradients of B and C of a chunk and group: sums over the heads of the group."""
    chunk, group, rows, live = locate(begins, ends, groups, block_t)
    per_group = heads // groups
    n = tl.program_id(1) * block_n + tl.arange(0, block_n)
    d_product = tl.zeros((block_t, block_t), tl.float32)
    by_read = tl.zeros((block_t, block_n), tl.float32)
    by_push = tl.zeros((block_t, block_n), tl.float32)
    for member in range(per_group):
        head = group * per_group + member
        high, low = sum_decays(log_decay, rows, live, heads, head)
        size = read_steps(dt, rows, live, heads, head)
        before = tl.exp(high + low)
        weight = decays_to_end(high, low, block_t) * size
        d_matrix = tl.zeros((block_t, block_t), tl.float32)
        for first in range(0, channels, block_p):
            p = first + tl.arange(0, block_p)
            inside_p = (p < channels)[:, None]
            signal = read_tile(x, rows, live, heads, head, channels, p)
            slope = read_tile(grad, rows, live, heads, head, channels, p)
            d_matrix += dot(slope, tl.trans(signal), precision)
            cells, inside = state_cells(states, chunk, heads, head, padded, p, width, n)
            state = tl.load(cells, inside & inside_p, 0.0)
            by_read += dot(slope * before[:, None], state, precision)
            cells, inside = state_cells(d_states, chunk, heads, head, padded, p, width, n)
            d_state = tl.load(cells, inside & inside_p, 0.0)
            by_push += dot(signal * weight[:, None], d_state, precision)
        d_product += d_matrix * decays_between(high, low, block_t) * size[None, :]
    b = read_tile(B, rows, live, groups, group, width, n)
    by_read += dot(d_product, b, precision)
    write_tile(d_C, by_read, rows, live, groups, group, width, n)
    c = read_tile(C, rows, live, groups, group, width, n)
    by_push += dot(tl.trans(d_product), c, precision)
    write_tile(d_B, by_push, rows, live, groups, group, width, n)
