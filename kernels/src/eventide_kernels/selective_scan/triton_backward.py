"""The backward kernel of selective_scan in Triton, chunk by chunk from the end.

The states of a chunk come from the state kept before it, by the forward scan; lam, the gradient of
the state, by a scan in the other direction, carried between chunks in `d_state`, which starts as
the gradient of the last state. Formulas as in cpu_backward.py. Sums over channels, time and
sequences are added atomically, so that their last bit may change from run to run.
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
    zoh_rate_derivative,
)


@triton.jit
def _states(
    x, dt, decay, rate, into, weight, kept, index, kept_channels, d, n, states, live_d,
    rule: tl.constexpr,
):  # fmt: skip
    """The factor w, the powers a, and all states h of the chunk."""
    factor = input_factor(dt, rate, weight, d, n, states, live_d, rule)
    carried = tl.load(kept + (index * kept_channels + d) * states + n, live_d, 0.0)
    power = tl.exp2(decay * rate[:, None] * LOG2_E)
    powers, pushed = tl.associative_scan((power, factor * x * into[None, :]), 1, compose)
    return factor, power, pushed + powers * carried[:, None]


@triton.jit
def backward_kernel(
    u, delta, A, B, C, D, z, bias, step, step_scale, weight, ends, kept, grad_y,
    d_u, d_delta, d_A, d_B, d_C, d_D, d_z, d_bias, d_step, d_scale, d_weight, d_state,
    u_b, u_d, u_t, delta_b, delta_d, delta_t, z_b, z_d, z_t, g_b, g_d, g_t,
    length, states, channels, group_channels, group_blocks, kept_channels,
    packed: tl.constexpr, has_z: tl.constexpr, has_step: tl.constexpr, rule: tl.constexpr,
    use_softplus: tl.constexpr, block_d: tl.constexpr, block_t: tl.constexpr,
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
    skip_sum = tl.zeros((block_d,), tl.float32)
    bias_sum = tl.zeros((block_d,), tl.float32)
    scale_sum = tl.zeros((block_d,), tl.float32)
    chunks = tl.cdiv(end - start, block_t)
    for done in range(chunks):
        chunk = chunks - 1 - done
        t = start + chunk * block_t + lane
        live_t = t < end
        live = live_d[:, None] & live_t[None, :]
        x = read(u, batch, d, t, u_b, u_d, u_t, live)
        g = read(grad_y, batch, d, t, g_b, g_d, g_t, live)
        dt = read_delta(
            delta, offset, batch, d, t, delta_b, delta_d, delta_t, live, use_softplus
        )
        decay = read_decay(step, scale, dt, batch, t, end, length, has_step)
        following = live_d[:, None] & (t + 1 < end)[None, :]
        dt_next = read_delta(
            delta, offset, batch, d, t + 1, delta_b, delta_d, delta_t, following, use_softplus
        )
        decay_next = read_decay(step, scale, dt_next, batch, t + 1, end, length, has_step)
        index = (batch * length + start) // block_t + s + chunk
        if has_z:  # y is needed first: one more forward scan instead of another (B, D, L) tensor
            y = skip[:, None] * x
            for n in range(states):
                rate = tl.load(A + d * states + n, live_d, 0.0).to(tl.float32)
                into = tl.load(B + (rows + n) * length + t, live_t, 0.0).to(tl.float32)
                out_of = tl.load(C + (rows + n) * length + t, live_t, 0.0).to(tl.float32)
                _, _, h = _states(
                    x, dt, decay, rate, into, weight, kept, index, kept_channels, d, n, states,
                    live_d, rule,
                )  # fmt: skip
                y += h * out_of[None, :]
            gate = read(z, batch, d, t, z_b, z_d, z_t, live)
            opened = tl.sigmoid(gate)
            slope = opened * (1 + gate * (1 - opened))
            write(d_z, g * y * slope, batch, d, t, z_b, z_d, z_t, live)
            g *= gate * opened
        into_x = g * skip[:, None]
        into_size = tl.zeros_like(x)
        into_decay = tl.zeros_like(x)
        for n in range(states):
            rate = tl.load(A + d * states + n, live_d, 0.0).to(tl.float32)
            into = tl.load(B + (rows + n) * length + t, live_t, 0.0).to(tl.float32)
            out_of = tl.load(C + (rows + n) * length + t, live_t, 0.0).to(tl.float32)
            factor, power, h = _states(
                x, dt, decay, rate, into, weight, kept, index, kept_channels, d, n, states,
                live_d, rule,
            )  # fmt: skip
            cell = d_state + (s.to(tl.int64) * channels + d) * states + n
            carried = tl.load(cell, live_d, 0.0)
            power_next = tl.exp2(decay_next * rate[:, None] * LOG2_E)
            powers, summed = tl.associative_scan(
                (power_next, g * out_of[None, :]), 1, compose, reverse=True
            )
            lam = summed + powers * carried[:, None]
            lam_before = tl.where(chunk == 0, power * lam, lam)
            tl.store(cell, tl.sum(tl.where(lane[None, :] == 0, lam_before, 0.0), 1), live_d)

            lam_q = lam * (h - factor * x * into[None, :])
            lam_B = lam * into[None, :]
            rate_sum = tl.sum(lam_q * decay, 1)
            into_decay += lam_q * rate[:, None]
            into_x += lam_B * factor
            if rule == 0:
                into_size += lam_B * x
            if rule == 1:
                grown = tl.exp2(dt * rate[:, None] * LOG2_E)
                into_size += lam_B * x * grown
                turned = zoh_rate_derivative(dt, rate[:, None], grown, factor)
                rate_sum += tl.sum(lam_B * x * turned, 1)
            if rule == 2:
                tl.atomic_add(d_weight + d * states + n, tl.sum(lam_B * x, 1), live_d)
            tl.atomic_add(d_A + d * states + n, rate_sum, live_d)
            at = (rows + n) * length + t
            tl.atomic_add(d_B + at, tl.sum(lam * factor * x, 0), live_t)
            tl.atomic_add(d_C + at, tl.sum(g * h, 0), live_t)
        if has_step:
            times = tl.load(step + batch * length + t, live_t, 0.0).to(tl.float32)
            scale_sum += tl.sum(into_decay * times[None, :], 1)
            into_step = tl.sum(into_decay * scale[:, None], 0)
            tl.atomic_add(d_step + batch * length + t, into_step, live_t)
        else:
            into_size += into_decay
        if use_softplus:
            raw = read(delta, batch, d, t, delta_b, delta_d, delta_t, live) + offset[:, None]
            into_size *= tl.sigmoid(raw)
        skip_sum += tl.sum(g * x, 1)
        bias_sum += tl.sum(tl.where(live, into_size, 0.0), 1)
        write(d_u, into_x, batch, d, t, u_b, u_d, u_t, live)
        write(d_delta, into_size, batch, d, t, delta_b, delta_d, delta_t, live)
        tl.debug_barrier()  # the next chunk reads what other threads of this program carried over
    tl.atomic_add(d_D + d, skip_sum, live_d)
    tl.atomic_add(d_bias + d, bias_sum, live_d)
    tl.atomic_add(d_scale + d, scale_sum, live_d)
