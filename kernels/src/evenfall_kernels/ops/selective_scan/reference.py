"""selective_scan in plain PyTorch: the definition, with any dtype and any order of derivative.

    B batch   D channels   L steps   N state size   G groups of channels that share B and C
    S sequences: the batch, or the packed sequences

Arithmetic is float32, or float64 for float64 input.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...common.gradients import input_gradients
from ...common.sequences import sequence_ends
from .outputs import CHUNK, empty_gradients, empty_outputs

__all__ = ["CHUNK", "backward", "forward", "scan", "zoh_factor"]

ZOH, BILINEAR = "zoh", "bilinear"  # else "delta"

_NEAR, _TERMS = 0.3, 14  # the error 0.3^13 / 14! is below float64 rounding


def zoh_factor(time: Tensor, A: Tensor) -> Tensor:
    """(exp(time A) - 1) / A.

    A power series where time A is small: there the derivatives of the quotient cancel, and at A = 0
    the quotient is undefined.
    """
    x = time * A
    near = x.abs() < _NEAR
    small, series = torch.where(near, x, 0), torch.ones_like(x)
    for k in range(_TERMS, 1, -1):
        series = 1 + small / k * series  # result: 1 + x / 2 + x^2 / 6 + ...
    quotient = torch.expm1(torch.where(near, 1, x)) / torch.where(near, 1, A)
    return torch.where(near, time * series, quotient)


def scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    z: Tensor | None,
    delta_bias: Tensor,
    step: Tensor | None,
    step_scale: Tensor,
    weight: Tensor | None,
    initial_state: Tensor,
    cu_seqlens: Tensor | None,
    delta_softplus: bool,
    factor: str,
) -> tuple[Tensor, Tensor]:
    """y (B, D, L) in u's dtype and the last state (S, D, N).

    B and C are (B, G, N, L), ``step`` is (B, L) or (B, D, L). ``weight`` (D, N) is the factor of
    B u if it is constant in time. Without it, the factor is delta, its zero-order hold ("zoh"), or
    delta / (1 - delta A / 2) ("bilinear", which also changes the decay).
    """
    state_dtype = initial_state.dtype
    group_channels = u.shape[1] // B.shape[1]
    x, delta, A, B, C = (t.to(state_dtype) for t in (u, delta, A, B, C))
    B = B.repeat_interleave(group_channels, dim=1)  # (B, D, N, L)
    C = C.repeat_interleave(group_channels, dim=1)
    delta = delta + delta_bias.to(state_dtype)[:, None]
    if delta_softplus:
        delta = F.softplus(delta)
    decay = delta
    if step is not None:
        times = step if step.dim() == 3 else step[:, None]
        decay = times.to(state_dtype) * step_scale.to(state_dtype)[:, None]  # (B, D, L)

    length = u.shape[2]
    ends = [0, length] if cu_seqlens is None else sequence_ends(cu_seqlens, length)
    outputs, last_states = [], []
    for sequence, (start, end) in enumerate(pairwise(ends)):
        h = initial_state if cu_seqlens is None else initial_state[sequence][None]  # (B, D, N)
        for t in range(start, end):
            size, time = delta[:, :, t, None], decay[:, :, t, None]
            power = torch.exp(time * A)
            if weight is not None:
                w = weight.to(state_dtype)
            elif factor == ZOH:
                w = zoh_factor(size, A)
            elif factor == BILINEAR:
                w = size / (1 - size * A / 2)
                power = (1 + time * A / 2) / (1 - time * A / 2)
            else:
                w = size
            h = power * h + w * B[..., t] * x[:, :, t, None]
            outputs.append((h * C[..., t]).sum(-1))
        last_states.append(h)
    # Without steps y has no elements, but each signal must still have a gradient.
    y = torch.stack(outputs, dim=2) if outputs else delta + decay + (B * C).sum(2)
    y = y + D.to(state_dtype)[:, None] * x
    if z is not None:
        y = y * F.silu(z.to(state_dtype))
    last = torch.cat(last_states) if last_states else initial_state.clone()
    return y.to(u.dtype), last


def forward(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Backend interface, see op.py. Traced code calls it, as it cannot read cu_seqlens itself."""
    inputs, save = arguments[:-1], arguments[-1]
    u, B, initial_state = inputs[0], inputs[3], inputs[11]
    y, last, chunk_states = empty_outputs(u, B, initial_state, save)
    y_value, last_value = scan(*inputs)
    return y.copy_(y_value), last.copy_(last_value), chunk_states


def backward(
    grad_y: Tensor, grad_last: Tensor, chunk_states: Tensor, *arguments: Any
) -> tuple[Tensor, ...]:
    """Backend interface, see op.py: gradients of u to initial_state, without elements for None."""
    inputs, options = arguments[:12], arguments[12:]
    grads = input_gradients(lambda *t: scan(*t, *options), inputs, (grad_y, grad_last))
    pairs = zip(empty_gradients(*inputs), grads, strict=True)
    return tuple(empty if grad is None else empty.copy_(grad) for empty, grad in pairs)
