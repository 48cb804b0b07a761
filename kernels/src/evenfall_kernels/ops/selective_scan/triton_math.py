"""Device functions shared by the forward and backward Triton kernels of selective_scan.

Tiles are (channels, time). Time is contiguous in every signal, so a thread has neighbouring steps
and a scan exchanges little between threads. Outside a signal, reads return 0: a decay of 0 leaves
the state unchanged, an input of 0 adds nothing.
"""

from __future__ import annotations

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)
LN_2 = tl.constexpr(0.6931471805599453)


@triton.jit
def compose(power_1, push_1, power_2, push_2):
    """The composition of h -> power_1 h + push_1, then h -> power_2 h + push_2."""
    return power_1 * power_2, push_1 * power_2 + push_2


@triton.jit
def scan_forward(power, push, carry, slot):
    """All h_k = power_k h_(k-1) + push_k of a tile; `carry` is h before its first step."""
    push += tl.where(slot[None, :] == 0, power * carry[:, None], 0.0)
    return tl.associative_scan((power, push), 1, compose)[1]


@triton.jit
def scan_backward(power, push, carry, slot, block_t: tl.constexpr):
    """All h_k = power_k h_(k+1) + push_k of a tile; `carry` is h after its last step."""
    push += tl.where(slot[None, :] == block_t - 1, power * carry[:, None], 0.0)
    return tl.associative_scan((power, push), 1, compose, reverse=True)[1]


@triton.jit
def softplus(x):
    e = tl.exp(-tl.abs(x))
    w = 1 + e
    # log(1 + e), accurate for small e, where w has lost the last bits of e
    tail = tl.where(w == 1, e, tl.log(w) * e / tl.where(w == 1, 1.0, w - 1))
    return tl.maximum(x, 0.0) + tail


@triton.jit
def zoh_factor(time, rate, power):
    """(power - 1) / rate with power = e^(time rate); a series near 0."""
    x = time * rate
    near = 1 + x * (1 / 2 + x * (1 / 6 + x * (1 / 24 + x * (1 / 120 + x / 720))))
    small = tl.abs(x) < 0.35
    return tl.where(small, time * near, (power - 1) / tl.where(small, 1.0, rate))


@triton.jit
def zoh_rate_derivative(time, rate, power, factor):
    """(time power - factor) / rate; a series near 0."""
    x = time * rate
    near = 1 / 2 + x * (1 / 3 + x * (1 / 8 + x * (1 / 30 + x * (1 / 144 + x / 840))))
    small = tl.abs(x) < 0.35
    far = (time * power - factor) / tl.where(small, 1.0, rate)
    return tl.where(small, time * time * near, far)


@triton.jit
def locate_program(groups, group_blocks, block_d: tl.constexpr):
    """Sequence, group and channels in the group; neighbouring programs read the same B and C."""
    program = tl.program_id(0)
    block, group = program % group_blocks, program // group_blocks % groups
    return program // group_blocks // groups, group, block * block_d + tl.arange(0, block_d)


@triton.jit
def sequence_bounds(ends, s, length, packed: tl.constexpr):
    """Batch element, first step and last step + 1 of sequence s, and the start of its first tile.

    The tile starts at a multiple of 16, so the compiler can give each thread neighbouring steps.
    Its steps before the sequence leave the initial state unchanged.
    """
    batch, start, end = s, s * 0, s * 0 + length
    if packed:
        batch = s * 0
        # Nobody has checked the values on a GPU: wrong ones must not lead outside the signals.
        start = tl.minimum(tl.maximum(tl.load(ends + s).to(tl.int32), 0), length)
        end = tl.minimum(tl.maximum(tl.load(ends + s + 1).to(tl.int32), 0), length)
    return batch.to(tl.int64), start, end, start // 16 * 16


@triton.jit
def readable(t, start, end, row, packed: tl.constexpr):
    """The steps to read and write: those of a packed sequence, or else all of the padded row."""
    inside = t < row
    if packed:
        inside = (t >= start) & (t < end)
    return inside


@triton.jit
def read(signal, batch, d, t, stride_b, stride_d, live):
    """A (channels, time) tile in float32, 0 where not live."""
    at = batch * stride_b + d.to(tl.int64)[:, None] * stride_d + t[None, :]
    return tl.load(signal + at, live, 0.0).to(tl.float32)


@triton.jit
def write(signal, value, batch, d, t, channels, row, live):
    """A (channels, time) tile of a contiguous signal."""
    at = (batch * channels + d)[:, None] * row + t[None, :]
    tl.store(signal + at, value.to(signal.dtype.element_ty), live)


@triton.jit
def read_delta(
    delta, bias, batch, d, t, stride_b, stride_d, live, in_sequence, use_softplus: tl.constexpr
):  # fmt: skip
    """delta + bias, after softplus if `use_softplus`; 0 outside the sequence."""
    value = read(delta, batch, d, t, stride_b, stride_d, live) + bias[:, None]
    if use_softplus:
        value = softplus(value)
    return tl.where(in_sequence, value, 0.0)


@triton.jit
def read_decay(step, scale, dt, batch, t, row, live_t, has_step: tl.constexpr):
    """log2(e) step * scale, or log2(e) dt without a step, so 2^(decay A) is the power.

    It is 0 outside the sequence.
    """
    decay = dt
    if has_step:
        times = tl.load(step + batch * row + t, live_t, 0.0).to(tl.float32)
        decay = times[None, :] * scale[:, None]
    return decay * LOG2_E


@triton.jit
def input_factor(dt, rate, weight, d, n, states, live_d, rule: tl.constexpr):
    """The factor w of w B u, which depends on the state n.

    A (channels, time) tile for the zero-order hold, (channels, 1) for a constant weight.
    """
    if rule == 1:
        natural_rate = rate[:, None]
        factor = zoh_factor(dt, natural_rate, tl.exp2(dt * natural_rate * LOG2_E))
    else:
        factor = tl.load(weight + d * states + n, live_d, 0.0).to(tl.float32)[:, None]
    return factor
