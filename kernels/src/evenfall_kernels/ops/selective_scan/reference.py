r"""selective_scan in plain PyTorch: any dtype, any order of derivative. The definition.

    B batch   D channels   L steps   N state size   G groups of channels that share B and C
    S sequences: the batch, or the packed sequences

The arithmetic runs in float32, in float64 for float64 input.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...common.gradients import pull_back
from ...common.sequences import sequence_ends
from .outputs import CHUNK, empty_gradients, empty_outputs

__all__ = ["CHUNK", "backward", "forward", "scan", "zoh_factor"]


_NEAR, _TERMS = 0.3, 14  # below float64's rounding error: 0.3^13 / 14!


def zoh_factor(time: Tensor, A: Tensor) -> Tensor:
    """(exp(time A) - 1) / A.

    Where time A is small, a power series: the quotient's derivatives lose their digits there, and
    at A = 0 it has none.
    """
    x = time * A
    near = x.abs() < _NEAR
    small, series = torch.where(near, x, 0), torch.ones_like(x)
    for k in range(_TERMS, 1, -1):
        series = 1 + small / k * series  # in the end 1 + x / 2 + x^2 / 6 + ...
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
    zoh: bool,
) -> tuple[Tensor, Tensor]:
    """y (B, D, L) in u's dtype and the last state (S, D, N).

    B and C are (B, G, N, L). ``weight`` (D, N) is the factor of B u where it depends neither on
    delta nor on time; else the factor is delta, or its zero-order hold with ``zoh``.
    """
    state_dtype = initial_state.dtype
    channels_a_group = u.shape[1] // B.shape[1]
    x, delta, A, B, C = (t.to(state_dtype) for t in (u, delta, A, B, C))
    B = B.repeat_interleave(channels_a_group, dim=1)  # (B, D, N, L)
    C = C.repeat_interleave(channels_a_group, dim=1)
    delta = delta + delta_bias.to(state_dtype)[:, None]
    if delta_softplus:
        delta = F.softplus(delta)
    decay = delta
    if step is not None:
        decay = step.to(state_dtype)[:, None] * step_scale.to(state_dtype)[:, None]  # (B, D, L)

    length = u.shape[2]
    ends = [0, length] if cu_seqlens is None else sequence_ends(cu_seqlens, length)
    outputs, last_states = [], []
    for sequence, (start, end) in enumerate(zip(ends, ends[1:], strict=False)):
        h = initial_state if cu_seqlens is None else initial_state[sequence][None]  # (B, D, N)
        for t in range(start, end):
            if weight is not None:
                factor = weight.to(state_dtype)
            elif zoh:
                factor = zoh_factor(delta[:, :, t, None], A)
            else:
                factor = delta[:, :, t, None]
            push = factor * B[..., t] * x[:, :, t, None]
            h = torch.exp(decay[:, :, t, None] * A) * h + push
            outputs.append((h * C[..., t]).sum(-1))
        last_states.append(h)
    if outputs:
        y = torch.stack(outputs, dim=2)
    else:  # of no elements, yet with a gradient, also of no elements, for every signal
        y = delta + decay + (B * C).sum(2)
    y = y + D.to(state_dtype)[:, None] * x
    if z is not None:
        y = y * F.silu(z.to(state_dtype))
    last = torch.cat(last_states) if last_states else initial_state.clone()
    return y.to(u.dtype), last


def forward(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, *others: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Backend interface, see op.py, for compiled code, which cannot look into packed sequences."""
    *arguments, save = (u, delta, A, B, *others)
    y, last, kept = empty_outputs(u, B, arguments[11], save)
    found = scan(*arguments)
    return y.copy_(found[0]), last.copy_(found[1]), kept


def backward(
    grad_y: Tensor, grad_last: Tensor, kept: Tensor, *arguments: Any
) -> tuple[Tensor, ...]:
    """Backend interface, see op.py: gradients of u to initial_state, empty for absent ones."""
    inputs = arguments[:12]
    found = pull_back(lambda *given: scan(*given, *arguments[12:]), inputs, (grad_y, grad_last))
    pairs = zip(empty_gradients(*inputs), found, strict=True)
    return tuple(empty if grad is None else empty.copy_(grad) for empty, grad in pairs)
