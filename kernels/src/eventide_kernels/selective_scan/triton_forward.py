"""The forward kernel of selective_scan in Triton.

A program owns a few channels of one sequence and goes over it chunk by chunk. Within a chunk the
recurrence of each state n is one associative scan over time; the state between two chunks is
carried in `last`, which starts as the initial state. Nothing of size B D L N is in memory.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .triton_math import (
    LOG2_E,
    compose,
    input_factor,
    read,
    read_decay,
    read_delta,
    sequence_bounds,
    write,
)


@triton.jit
def forward_kernel(
    u, delta, A, B, C, D, z, bias, step, step_scale, weight, ends, out, last, kept,
    u_b, u_d, u_t, delta_b, delta_d, delta_t, z_b, z_d, z_t, out_b, out_d, out_t,
    length, states, channels, group_channels, group_blocks, kept_channels,
    packed: tl.constexpr, has_z: tl.constexpr, has_step: tl.constexpr, rule: tl.constexpr,
    use_softplus: tl.constexpr, save: tl.constexpr, block_d: tl.constexpr, block_t: tl.constexpr,
):  # fmt: skip
    s, group = tl.program_id(0), tl.program_id(1) // group_blocks
    inner = tl.program_id(1) % group_blocks * block_d + tl.arange(0, block_d)
    d, live_d = group * group_channels + inner, inner < group_channels
    batch, start, end = sequence_bounds(ends, s, length, packed)
    skip = tl.load(D + d, live_d, 0.0).to(tl.float32)
    offset = tl.load(bias + d, live_d, 0.0).to(tl.float32)
    scale = tl.load(step_scale + d, live_d, 0.0).to(tl.float32)
    lane = tl.arange(0, block_t)
    groups = channels // group_channels
    rows = (batch * groups + group) * states
    for chunk in range(tl.cdiv(end - start, block_t)):
        t = start + chunk * block_t + lane
        live_t = t < end
        live = live_d[:, None] & live_t[None, :]
        x = read(u, batch, d, t, u_b, u_d, u_t, live)
        dt = read_delta(
            delta, offset, batch, d, t, delta_b, delta_d, delta_t, live, use_softplus
        )
        decay = read_decay(step, scale, dt, batch, t, end, length, has_step)
        y = skip[:, None] * x
        index = (batch * length + start) // block_t + s + chunk
        for n in range(states):
            rate = tl.load(A + d * states + n, live_d, 0.0).to(tl.float32)
            into = tl.load(B + (rows + n) * length + t, live_t, 0.0).to(tl.float32)
            out_of = tl.load(C + (rows + n) * length + t, live_t, 0.0).to(tl.float32)
            cell = last + (s.to(tl.int64) * channels + d) * states + n
            carried = tl.load(cell, live_d, 0.0)
            if save:
                place = (index * kept_channels + d) * states + n
                tl.store(kept + place, carried, live_d)
            factor = input_factor(dt, rate, weight, d, n, states, live_d, rule)
            power = tl.exp2(decay * rate[:, None] * LOG2_E)
            powers, pushed = tl.associative_scan(
                (power, factor * x * into[None, :]), 1, compose
            )
            h = pushed + powers * carried[:, None]
            y += h * out_of[None, :]
            final = tl.sum(tl.where(lane[None, :] == block_t - 1, h, 0.0), 1)
            tl.store(cell, final, live_d)
        if has_z:
            gate = read(z, batch, d, t, z_b, z_d, z_t, live)
            y *= gate * tl.sigmoid(gate)
        write(out, y, batch, d, t, out_b, out_d, out_t, live)
        tl.debug_barrier()  # the next chunk reads what other threads of this program carried over
