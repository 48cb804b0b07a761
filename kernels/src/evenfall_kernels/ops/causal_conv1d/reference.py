"""The causal depthwise convolution in plain PyTorch: the definition.

B batch   D channels   L steps   W filter width   S sequences (B, or those packed into one row)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...common.gradients import input_gradients
from ...common.sequences import sequence_ends


def forward(
    x: Tensor, weight: Tensor, bias: Tensor | None, initial_state: Tensor | None,
    cu_seqlens: Tensor | None, silu: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """out (B, D, L) and final state (S, D, W - 1), both in the dtype of x."""
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    wide = x.to(dtype)
    state = starting_state(x, weight, initial_state, cu_seqlens).to(dtype)
    filters = weight.to(dtype), None if bias is None else bias.to(dtype)
    if cu_seqlens is None:
        out, final = _convolve(wide, *filters, state)
    else:
        ends = sequence_ends(cu_seqlens, x.shape[2])
        pieces = zip(ends, ends[1:], state.split(1), strict=False)
        parts = [_convolve(wide[..., a:b], *filters, before) for a, b, before in pieces]
        out = torch.cat([wide[..., :0], *(part for part, _ in parts)], dim=2)
        final = torch.cat([state[:0], *(last for _, last in parts)])
    return (F.silu(out) if silu else out).to(x.dtype), final.to(x.dtype)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, state: Tensor) -> tuple[Tensor, ...]:
    length = x.shape[2]
    padded = torch.cat([state, x], dim=2)  # (B, D, W - 1 + L)
    out = x.new_zeros(x.shape) if bias is None else bias[:, None].expand(x.shape)
    for w in range(weight.shape[1]):
        out = out + weight[:, w, None] * padded[..., w : w + length]
    return out, padded[..., length:]


def starting_state(
    x: Tensor, weight: Tensor, initial_state: Tensor | None, cu_seqlens: Tensor | None
) -> Tensor:
    """The initial state (S, D, W - 1), zero by default."""
    if initial_state is not None:
        return initial_state
    sequences = x.shape[0] if cu_seqlens is None else cu_seqlens.numel() - 1
    return x.new_zeros(sequences, x.shape[1], weight.shape[1] - 1)


def backward(
    grad_out: Tensor, grad_final: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None,
    initial_state: Tensor | None, cu_seqlens: Tensor | None, silu: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of x, weight, bias and initial state; the last two are empty for None."""

    def run(x: Tensor, weight: Tensor, *optional: Tensor | None) -> tuple[Tensor, Tensor]:
        bias, initial_state = optional
        return forward(x, weight, bias, initial_state, cu_seqlens, silu)

    inputs = (x, weight, bias, initial_state)
    grads = input_gradients(run, inputs, (grad_out, grad_final))
    d_x, d_weight, d_bias, d_state = (x.new_empty(0) if t is None else t for t in grads)
    return d_x, d_weight, d_bias, d_state
