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
    LN_2,
    LOG2_E,
    input_factor,
    program_place,
    read,
    read_decay,
    read_delta,
    readable,
    scan_backward,
    scan_forward,
    sequence_bounds,
    write,
    zoh_rate_derivative,
)


@triton.jit(do_not_specialize=["length"])
def backward_kernel(
    u, delta, A, B, C, D, z, bias, step, step_scale, weight, ends, kept, grad_y,
    d_u, d_delta, d_A, d_B, d_C, d_D, d_z, d_bias, d_step, d_scale, d_weight, d_state,
    u_b, u_d, delta_b, delta_d, z_b, z_d, g_b, g_d,
    length, row, states, channels, group_channels, group_blocks, kept_channels,
    packed: tl.constexpr, has_z: tl.constexpr, has_step: tl.constexpr, rule: tl.constexpr,
    use_softplus: tl.constexpr, block_d: tl.constexpr, block_t: tl.constexpr,
):  # fmt: skip
    s, group, inner = program_place(channels // group_channels, group_blocks, block_d)
    d, live_d = group * group_channels + inner, inner < group_channels
    batch, start, end, origin = sequence_bounds(ends, s, length, packed)
    skip = tl.load(D + d, live_d, 0.0).to(tl.float32)
    offset = tl.load(bias + d, live_d, 0.0).to(tl.float32)
    scale = tl.load(step_scale + d, live_d, 0.0).to(tl.float32)
    slot = tl.arange(0, block_t)
    groups = channels // group_channels
    rows = (batch * groups + group) * states
    skip_sum = tl.zeros((block_d,), tl.float32)
    bias_sum = tl.zeros((block_d,), tl.float32)
    scale_sum = tl.zeros((block_d,), tl.float32)
    chunks = tl.where(start < end, tl.cdiv(end - origin, block_t), 0)
    for done in range(chunks):
        chunk = chunks - 1 - done
        t = origin + chunk * block_t + slot
        live_t = readable(t, start, end, row, packed)
        live = live_d[:, None] & live_t[None, :]
        x = read(u, batch, d, t, u_b, u_d, live)
        g = read(grad_y, batch, d, t, g_b, g_d, live)
        known = live & ((t >= start) & (t < end))[None, :]
        dt = read_delta(delta, offset, batch, d, t, delta_b, delta_d, live, known, use_softplus)
        decay = read_decay(step, scale, dt, batch, t, row, live_t, has_step)
        next_t = (t + 1 >= start) & (t + 1 < end)
        following = live_d[:, None] & next_t[None, :]
        dt_next = read_delta(
            delta, offset, batch, d, t + 1, delta_b, delta_d, following, following, use_softplus
        )
        decay_next = read_decay(step, scale, dt_next, batch, t + 1, row, next_t, has_step)
        index = (batch * length + start) // block_t + s + chunk
        if has_z:
            gate = read(z, batch, d, t, z_b, z_d, live)
            g *= gate * tl.sigmoid(gate)
            y = skip[:, None] * x
        pushed = x * dt if rule == 0 else x
        into_pushed = tl.zeros_like(x)
        into_size = tl.zeros_like(x)
        into_decay = tl.zeros_like(x)
        for n in range(states):
            rate = tl.load(A + d * states + n, live_d, 0.0).to(tl.float32)
            into = tl.load(B + (rows + n) * row + t, live_t, 0.0).to(tl.float32)
            out_of = tl.load(C + (rows + n) * row + t, live_t, 0.0).to(tl.float32)
            power = tl.exp2(decay * rate[:, None])
            before = tl.load(kept + (index * kept_channels + d) * states + n, live_d, 0.0)
            weighted = pushed
            if rule != 0:
                factor = input_factor(dt, rate, weight, d, n, states, live_d, rule)
                weighted = factor * x
            push = weighted * into[None, :]
            h = scan_forward(power, push, before, slot)
            if has_z:
                y += h * out_of[None, :]
            cell = d_state + (s.to(tl.int64) * channels + d) * states + n
            carried = tl.load(cell, live_d, 0.0)
            power_next = tl.exp2(decay_next * rate[:, None])
            lam = scan_backward(power_next, g * out_of[None, :], carried, slot, block_t)
            lam_before = tl.where(chunk == 0, power * lam, lam)
            tl.store(cell, tl.sum(tl.where(slot[None, :] == 0, lam_before, 0.0), 1), live_d)

            lam_q = lam * (h - push)
            lam_B = lam * into[None, :]
            rate_sum = LN_2 * tl.sum(lam_q * decay, 1)
            into_decay += lam_q * rate[:, None]
            into_pushed += lam_B if rule == 0 else lam_B * factor
            if rule == 1:
                grown = tl.exp2(dt * rate[:, None] * LOG2_E)
                into_size += lam_B * x * grown
                turned = zoh_rate_derivative(dt, rate[:, None], grown, factor)
                rate_sum += tl.sum(lam_B * x * turned, 1)
            if rule == 2:
                into_weight = tl.sum(lam_B * x, 1)
                tl.atomic_add(d_weight + d * states + n, into_weight, live_d, sem="relaxed")
            tl.atomic_add(d_A + d * states + n, rate_sum, live_d, sem="relaxed")
            at = (rows + n) * row + t
            tl.atomic_add(d_B + at, tl.sum(lam * weighted, 0), live_t, sem="relaxed")
            tl.atomic_add(d_C + at, tl.sum(g * h, 0), live_t, sem="relaxed")
        into_x = into_pushed
        if rule == 0:
            into_x, into_size = into_pushed * dt, into_pushed * x
        into_x += g * skip[:, None]
        if has_step:
            times = tl.load(step + batch * row + t, live_t, 0.0).to(tl.float32)
            scale_sum += tl.sum(into_decay * times[None, :], 1)
            into_step = tl.sum(into_decay * scale[:, None], 0)
            tl.atomic_add(d_step + batch * row + t, into_step, live_t, sem="relaxed")
        else:
            into_size += into_decay
        if has_z:
            gate = read(z, batch, d, t, z_b, z_d, live)
            opened = tl.sigmoid(gate)
            into_z = read(grad_y, batch, d, t, g_b, g_d, live) * y
            into_z *= opened * (1 + gate * (1 - opened))
            write(d_z, into_z, batch, d, t, channels, row, live)
        if use_softplus:
            raw = read(delta, batch, d, t, delta_b, delta_d, live) + offset[:, None]
            into_size *= tl.sigmoid(raw)
        skip_sum += tl.sum(g * x, 1)
        bias_sum += tl.sum(tl.where(known, into_size, 0.0), 1)
        write(d_u, into_x, batch, d, t, channels, row, live)
        write(d_delta, into_size, batch, d, t, channels, row, live)
        tl.debug_barrier()  # the next chunk reads what other threads of this program carried over
    tl.atomic_add(d_D + d, skip_sum, live_d, sem="relaxed")
    tl.atomic_add(d_bias + d, bias_sum, live_d, sem="relaxed")
    tl.atomic_add(d_scale + d, scale_sum, live_d, sem="relaxed")
