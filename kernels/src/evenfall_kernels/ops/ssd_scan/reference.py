"""ssd_scan in plain PyTorch: the definition, with any dtype and any order of derivative.

    B batch   L steps   H heads   P channels of a head   N states   G groups of heads
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
from .outputs import empty_gradients, empty_outputs

__all__ = ["CHUNK", "backward", "forward", "scan", "step_size"]

CHUNK = 64


def step_size(
    dt: Tensor,
    bias: Tensor | None,
    softplus: bool,
    limit: tuple[float, float],
    dtype: torch.dtype,
) -> Tensor:
    """The step after bias, softplus and limits, in `dtype`; dt is (..., H)."""
    step = dt.to(dtype)
    if bias is not None:
        step = step + bias.to(dtype)
    if softplus:
        step = F.softplus(step)
    return step if limit == (0.0, float("inf")) and softplus else step.clamp(*limit)


def scan(
    x: Tensor,
    dt: Tensor,
    log_decay: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    z: Tensor | None,
    initial_state: Tensor,
    cu_seqlens: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """y (B, L, H, P) in the dtype of x, and the last state (S, H, P, N).

    dt and log_decay = dt A are (B, L, H), D is (H, P); B and C are (B, L, G, N).
    """
    dtype = initial_state.dtype
    u = x.to(dtype)
    per_group = x.shape[2] // B.shape[2]
    B, C = (t.to(dtype).repeat_interleave(per_group, dim=2) for t in (B, C))  # (B, L, H, N)
    decay = torch.exp(log_decay)

    length = x.shape[1]
    ends = [0, length] if cu_seqlens is None else sequence_ends(cu_seqlens, length)
    outputs, last_states = [], []
    for sequence, (start, end) in enumerate(pairwise(ends)):
        h = initial_state if cu_seqlens is None else initial_state[sequence][None]  # (B, H, P, N)
        for t in range(start, end):
            push = (dt[:, t, :, None] * u[:, t])[..., None] * B[:, t, :, None]
            h = decay[:, t, :, None, None] * h + push
            outputs.append((h * C[:, t, :, None]).sum(-1))
        last_states.append(h)
    # Without steps y has no elements, but each signal must still have a gradient.
    unused = (dt + decay + (B * C).sum(-1))[..., None]
    y = (torch.stack(outputs, dim=1) if outputs else unused) + D.to(dtype) * u
    if z is not None:
        y = y * F.silu(z.to(dtype))
    last = torch.cat(last_states) if last_states else initial_state.clone()
    return y.to(x.dtype), last


def forward(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Backend interface, see op.py. Traced code calls it, as it cannot read cu_seqlens itself."""
    inputs, save = arguments[:-1], arguments[-1]
    y, last, states = empty_outputs(inputs[0], inputs[7], inputs[8], save, CHUNK)
    y_value, last_value = scan(*inputs)
    return y.copy_(y_value), last.copy_(last_value), states.zero_()


def backward(
    grad_y: Tensor, grad_last: Tensor, states: Tensor, *arguments: Any
) -> tuple[Tensor, ...]:
    """Backend interface, see op.py: gradients of x to initial_state, without elements for None."""
    inputs, options = arguments[:8], arguments[8:]
    grads = input_gradients(lambda *t: scan(*t, *options), inputs, (grad_y, grad_last))
    pairs = zip(empty_gradients(*inputs), grads, strict=True)
    return tuple(empty if grad is None else empty.copy_(grad) for empty, grad in pairs)
