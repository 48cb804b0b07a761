"""The backward kernel of selective_scan in Triton, chunk by chunk from the end.

A chunk's states are recomputed from the state saved before it, by the forward scan. A scan in the
other direction gives lam, the gradient of the state. `d_state` carries lam from chunk to chunk; it
starts as the gradient of the last state. Formulas as in cpu_backward.py. Sums over channels, time
and sequences are added atomically, so their last bit can differ between runs.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .triton_math import (
    LN_2,
    LOG2_E,
    input_factor,
    locate_program,
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
    u, delta, A, B, C, D, z, bias, step, step_scale, weight, ends, chunk_states, grad_y,
    d_u, d_delta, d_A, d_B, d_C, d_D, d_z, d_bias, d_step, d_scale, d_weight, d_state,
    u_b, u_d, delta_b, delta_d, z_b, z_d, g_b, g_d,
    length, row, states, channels, group_channels, group_blocks, padded_channels,
    packed: tl.constexpr, has_z: tl.constexpr, has_step: tl.constexpr, rule: tl.constexpr,
    use_softplus: tl.constexpr, block_d: tl.constexpr, block_t: tl.constexpr,
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
    skip_sum = tl.zeros((block_d,), tl.float32)
    bias_sum = tl.zeros((block_d,), tl.float32)
    scale_sum = tl.zeros((block_d,), tl.float32)
    chunks = tl.where(start < end, tl.cdiv(end - origin, block_t), 0)
    for i in range(chunks):
        chunk = chunks - 1 - i
        t = origin + chunk * block_t + slot
        live_t = readable(t, start, end, row, packed)
        live = live_d[:, None] & live_t[None, :]
        x = read(u, batch, d, t, u_b, u_d, live)
        g = read(grad_y, batch, d, t, g_b, g_d, live)
        in_sequence = live & ((t >= start) & (t < end))[None, :]
        dt = read_delta(
            delta, offset, batch, d, t, delta_b, delta_d, live, in_sequence, use_softplus
        )
        decay = read_decay(step, scale, dt, batch, t, row, live_t, has_step)
        next_t = (t + 1 >= start) & (t + 1 < end)
        live_next = live_d[:, None] & next_t[None, :]
        dt_next = read_delta(
            delta, offset, batch, d, t + 1, delta_b, delta_d, live_next, live_next, use_softplus
        )
        decay_next = read_decay(step, scale, dt_next, batch, t + 1, row, next_t, has_step)
        index = (batch * length + start) // block_t + s + chunk
        if has_z:
            gate = read(z, batch, d, t, z_b, z_d, live)
            g *= gate * tl.sigmoid(gate)
            y = skip[:, None] * x
        mamba_input = x * dt if rule == 0 else x
        push_grad = tl.zeros_like(x)
        dt_grad = tl.zeros_like(x)
        decay_grad = tl.zeros_like(x)
        for n in range(states):
            rate = tl.load(A + d * states + n, live_d, 0.0).to(tl.float32)
            b = tl.load(B + (rows + n) * row + t, live_t, 0.0).to(tl.float32)
            c = tl.load(C + (rows + n) * row + t, live_t, 0.0).to(tl.float32)
            power = tl.exp2(decay * rate[:, None])
            before = tl.load(chunk_states + (index * padded_channels + d) * states + n, live_d, 0.0)
            wu = mamba_input
            if rule != 0:
                factor = input_factor(dt, rate, weight, d, n, states, live_d, rule)
                wu = factor * x
            push = wu * b[None, :]
            h = scan_forward(power, push, before, slot)
            if has_z:
                y += h * c[None, :]
            cell = d_state + (s.to(tl.int64) * channels + d) * states + n
            carry = tl.load(cell, live_d, 0.0)
            power_next = tl.exp2(decay_next * rate[:, None])
            lam = scan_backward(power_next, g * c[None, :], carry, slot, block_t)
            lam_before = tl.where(chunk == 0, power * lam, lam)
            tl.store(cell, tl.sum(tl.where(slot[None, :] == 0, lam_before, 0.0), 1), live_d)

            lam_q = lam * (h - push)
            lam_B = lam * b[None, :]
            rate_sum = LN_2 * tl.sum(lam_q * decay, 1)
            decay_grad += lam_q * rate[:, None]
            push_grad += lam_B if rule == 0 else lam_B * factor
            if rule == 1:
                zoh_power = tl.exp2(dt * rate[:, None] * LOG2_E)
                dt_grad += lam_B * x * zoh_power
                slope = zoh_rate_derivative(dt, rate[:, None], zoh_power, factor)
                rate_sum += tl.sum(lam_B * x * slope, 1)
            if rule == 2:
                weight_grad = tl.sum(lam_B * x, 1)
                tl.atomic_add(d_weight + d * states + n, weight_grad, live_d, sem="relaxed")
            tl.atomic_add(d_A + d * states + n, rate_sum, live_d, sem="relaxed")
            at = (rows + n) * row + t
            tl.atomic_add(d_B + at, tl.sum(lam * wu, 0), live_t, sem="relaxed")
            tl.atomic_add(d_C + at, tl.sum(g * h, 0), live_t, sem="relaxed")
        x_grad = push_grad
        if rule == 0:
            x_grad, dt_grad = push_grad * dt, push_grad * x
        x_grad += g * skip[:, None]
        if has_step:
            times = tl.load(step + batch * row + t, live_t, 0.0).to(tl.float32)
            scale_sum += tl.sum(decay_grad * times[None, :], 1)
            step_grad = tl.sum(decay_grad * scale[:, None], 0)
            tl.atomic_add(d_step + batch * row + t, step_grad, live_t, sem="relaxed")
        else:
            dt_grad += decay_grad
        if has_z:
            gate = read(z, batch, d, t, z_b, z_d, live)
            sigmoid_z = tl.sigmoid(gate)
            z_grad = read(grad_y, batch, d, t, g_b, g_d, live) * y
            z_grad *= sigmoid_z * (1 + gate * (1 - sigmoid_z))
            write(d_z, z_grad, batch, d, t, channels, row, live)
        if use_softplus:
            raw = read(delta, batch, d, t, delta_b, delta_d, live) + offset[:, None]
            dt_grad *= tl.sigmoid(raw)
        skip_sum += tl.sum(g * x, 1)
        bias_sum += tl.sum(tl.where(in_sequence, dt_grad, 0.0), 1)
        write(d_u, x_grad, batch, d, t, channels, row, live)
        write(d_delta, dt_grad, batch, d, t, channels, row, live)
        tl.debug_barrier()  # the next chunk reads states that other threads wrote
    tl.atomic_add(d_D + d, skip_sum, live_d, sem="relaxed")
    tl.atomic_add(d_bias + d, bias_sum, live_d, sem="relaxed")
    tl.atomic_add(d_scale + d, scale_sum, live_d, sem="relaxed")
