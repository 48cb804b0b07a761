r"""selective_scan in plain PyTorch: any dtype, any order of derivative. The definition.

    B batch   D channels   L steps   N state size   G groups of channels that share B and C
    S sequences: the batch, or the packed sequences

The arithmetic runs in float32, in float64 for float64 input.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def zoh_factor(time: Tensor, A: Tensor) -> Tensor:
    """(exp(time A) - 1) / A, and its limit, time, where A is 0."""
    safe = torch.where(A == 0, torch.ones_like(A), A)
    return torch.where(A == 0, time.expand_as(time * A), torch.expm1(time * safe) / safe)


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

    ends = [0, u.shape[2]] if cu_seqlens is None else cu_seqlens.tolist()
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
