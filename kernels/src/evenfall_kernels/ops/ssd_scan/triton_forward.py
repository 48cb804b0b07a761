"""The kernels of ssd_scan's forward pass in Triton; the backward pass uses them, too.

    T steps of a chunk   P channels of a head   N states

Three launches: what each chunk adds to the state, in parallel; the states before all chunks, one
after another; the outputs of all chunks, in parallel. Nothing is added atomically.
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
def add_kernel(
    signal, dt, log_decay, direction, states, totals, begins, ends,
    heads, channels, width, groups, padded,
    backward: tl.constexpr, precision: tl.constexpr, block_t: tl.constexpr,
    block_p: tl.constexpr, block_n: tl.constexpr,
):  # fmt: skip
    """A tile of a chunk's sum of signal_t weight_t direction_t^T, and the chunk's total decay.

    Forward the signal is x, the direction B, and the weight dt times the decay to the end: what
    the chunk adds to the state. Backward they are the gradient of y, C, and the decay from the
    start: what the outputs add to the gradient of the state before the chunk.
    """
    chunk, head, rows, live = locate(begins, ends, heads, block_t)
    blocks = tl.cdiv(width, block_n)
    p = tl.program_id(1) // blocks * block_p + tl.arange(0, block_p)
    n = tl.program_id(1) % blocks * block_n + tl.arange(0, block_n)
    high, low = sum_decays(log_decay, rows, live, heads, head)
    if backward:
        weight = tl.exp(high + low)
    else:
        weight = decays_to_end(high, low, block_t) * read_steps(dt, rows, live, heads, head)
    if tl.program_id(1) == 0:
        tl.store(totals + chunk * heads + head, tl.exp(last_of(high + low, block_t)))
    u = read_tile(signal, rows, live, heads, head, channels, p) * weight[:, None]
    v = read_tile(direction, rows, live, groups, head * groups // heads, width, n)
    cells, inside = state_cells(states, chunk, heads, head, padded, p, width, n)
    tl.store(cells, dot(tl.trans(u), v, precision), inside)


@triton.jit
def pass_kernel(
    states, totals, state, last, firsts, counts, heads, channels, width, padded,
    backward: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Replace what each chunk adds by the state that enters it; `state` enters the first chunk.

    What leaves the last chunk goes to `last`. Backward the chunks are passed from the end.
    """
    program = tl.program_id(0)
    sequence, head = (program // heads).to(tl.int64), program % heads
    cell = tl.program_id(1) * block + tl.arange(0, block)
    inside = cell < channels * width
    carry = tl.load(state + (sequence * heads + head) * channels * width + cell, inside, 0.0)
    first, count = tl.load(firsts + sequence), tl.load(counts + sequence)
    for index in range(count):
        chunk = first + (count - 1 - index if backward else index)
        at = states + (chunk * heads + head) * padded * width + cell
        added = tl.load(at, inside, 0.0)
        tl.store(at, carry, inside)
        carry = tl.load(totals + chunk * heads + head) * carry + added
    tl.store(last + (sequence * heads + head) * channels * width + cell, carry, inside)


@triton.jit
def output_kernel(
    x, dt, log_decay, B, C, D, z, states, grad_y, out, d_z, begins, ends,
    heads, channels, width, groups, padded,
    has_z: tl.constexpr, backward: tl.constexpr, precision: tl.constexpr,
    block_t: tl.constexpr, block_p: tl.constexpr, block_n: tl.constexpr,
):  # fmt: skip
    """A chunk's y, or backward the gradients of z and, in `out`, of y before the gate."""
    chunk, head, rows, live = locate(begins, ends, heads, block_t)
    p = tl.program_id(1) * block_p + tl.arange(0, block_p)
    group = head * groups // heads
    product = tl.zeros((block_t, block_t), tl.float32)
    carried = tl.zeros((block_t, block_p), tl.float32)
    for start in range(0, width, block_n):
        n = start + tl.arange(0, block_n)
        b = read_tile(B, rows, live, groups, group, width, n)
        c = read_tile(C, rows, live, groups, group, width, n)
        cells, inside = state_cells(states, chunk, heads, head, padded, p, width, n)
        product += dot(c, tl.trans(b), precision)
        state = tl.load(cells, inside & (p < channels)[:, None], 0.0)
        carried += dot(c, tl.trans(state), precision)
    high, low = sum_decays(log_decay, rows, live, heads, head)
    size = read_steps(dt, rows, live, heads, head)
    product *= decays_between(high, low, block_t) * size[None, :]
    signal = read_tile(x, rows, live, heads, head, channels, p)
    y = dot(product, signal, precision) + tl.exp(high + low)[:, None] * carried
    skip = tl.load(D + head * channels + p, p < channels, 0.0).to(tl.float32)
    y += skip[None, :] * signal
    if has_z:
        gate = read_tile(z, rows, live, heads, head, channels, p)
        sigmoid = tl.sigmoid(gate)
        if backward:
            slope = read_tile(grad_y, rows, live, heads, head, channels, p)
            d_gate = slope * y * sigmoid * (1 + gate * (1 - sigmoid))
            write_tile(d_z, d_gate, rows, live, heads, head, channels, p)
            y = slope * gate * sigmoid
        else:
            y *= gate * sigmoid
    write_tile(out, y, rows, live, heads, head, channels, p)
