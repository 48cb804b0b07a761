"""The forward kernel of selective_scan in Triton.

A program processes a few channels of one sequence, chunk by chunk. Within a chunk, the recurrence
of each state n is one associative scan over time. `last` carries the state from chunk to chunk; it
starts as the initial state. No array of size B D L N exists.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .triton_math import (
    input_factor,
    locate_program,
    read,
    read_decay,
    read_delta,
    readable,
    scan_forward,
    sequence_bounds,
    write,
)


@triton.jit(do_not_specialize=["length"])
def forward_kernel(
    u, delta, A, B, C, D, z, bias, step, step_scale, weight, ends, out, last, chunk_states,
    u_b, u_d, delta_b, delta_d, z_b, z_d,
    length, row, states, channels, group_channels, group_blocks, padded_channels,
    packed: tl.constexpr, has_z: tl.constexpr, has_step: tl.constexpr, rule: tl.constexpr,
    use_softplus: tl.constexpr, save: tl.constexpr, block_d: tl.constexpr, block_t: tl.constexpr,
):  # fmt: skip
    s, group, inner = locate_program(channels // group_channels, group_blocks, block_d)
    d, live_d = group * group_channels + inner, inner < group_channels
    batch, start, end, origin = sequence_bounds(ends, s, length, packed)
    skip = tl.load(D + d, live_d, 0.0).to(tl.float32)
    offset = tl.load(bias + d, live_d, 0.0).to(tl.float32)
    scale = tl.load(step_scale + d, live_d, 0.0).to(tl.float32)
    slot = tl.arange(0, block_t)
    groups = channels // group_channels
    rows = (batch * groups + group) * states
    for chunk in range(tl.where(start < end, tl.cdiv(end - origin, block_t), 0)):
        t = origin + chunk * block_t + slot
        live_t = readable(t, start, end, row, packed)
        live = live_d[:, None] & live_t[None, :]
        x = read(u, batch, d, t, u_b, u_d, live)
        in_sequence = live & ((t >= start) & (t < end))[None, :]
        dt = read_delta(
            delta, offset, batch, d, t, delta_b, delta_d, live, in_sequence, use_softplus
        )
        decay = read_decay(step, scale, dt, batch, t, row, live_t, has_step)
        y = skip[:, None] * x
        if rule == 0:
            x *= dt
        index = (batch * length + start) // block_t + s + chunk
        for n in range(states):
            rate = tl.load(A + d * states + n, live_d, 0.0).to(tl.float32)
            b = tl.load(B + (rows + n) * row + t, live_t, 0.0).to(tl.float32)
            c = tl.load(C + (rows + n) * row + t, live_t, 0.0).to(tl.float32)
            cell = last + (s.to(tl.int64) * channels + d) * states + n
            carry = tl.load(cell, live_d, 0.0)
            if save:
                at = (index * padded_channels + d) * states + n
                tl.store(chunk_states + at, carry, live_d)
            push = x * b[None, :]
            if rule != 0:
                push *= input_factor(dt, rate, weight, d, n, states, live_d, rule)
            h = scan_forward(tl.exp2(decay * rate[:, None]), push, carry, slot)
            y += h * c[None, :]
            tl.store(cell, tl.sum(tl.where(slot[None, :] == block_t - 1, h, 0.0), 1), live_d)
        if has_z:
            gate = read(z, batch, d, t, z_b, z_d, live)
            y *= gate * tl.sigmoid(gate)
        write(out, y, batch, d, t, channels, row, live)
        tl.debug_barrier()  # the next chunk reads states that other threads wrote
