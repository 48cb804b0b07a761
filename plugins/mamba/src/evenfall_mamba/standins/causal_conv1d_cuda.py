"""Stand-in for the extension `causal_conv1d_cuda`, which writes results to its arguments.

B batch   D channels   L steps   W filter width
"""

from __future__ import annotations

import torch
from torch import Tensor

from evenfall_mamba.ssm import convolution

__all__ = ["causal_conv1d_bwd", "causal_conv1d_fwd", "causal_conv1d_update"]


def causal_conv1d_fwd(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    seq_idx: Tensor | None,
    initial_states: Tensor | None,
    out: Tensor,
    final_states_out: Tensor | None,
    silu_activation: bool,
) -> None:
    """Convolve x (B, D, L); write to out, and the last W - 1 inputs to final_states_out."""
    with torch.no_grad():
        result, final = convolution.convolve(
            x, weight, bias, seq_idx, initial_states, silu_activation
        )
        out.copy_(result)
        if final_states_out is not None:
            final_states_out.copy_(final)


def causal_conv1d_bwd(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    dout: Tensor,
    seq_idx: Tensor | None,
    initial_states: Tensor | None,
    dfinal_states: Tensor | None,
    dx: Tensor,
    dweight: Tensor,
    dbias: Tensor | None,
    dinitial_states: Tensor | None,
    silu_activation: bool,
) -> None:
    """Write gradients to dx, dweight, dbias and dinitial_states, from those of both results."""
    if initial_states is None and dinitial_states is not None:
        initial_states = torch.zeros_like(dinitial_states)
    inputs = [x, weight, bias, initial_states]
    leaves = [None if t is None else t.detach().requires_grad_() for t in inputs]
    with torch.enable_grad():
        x_, weight_, bias_, initial_ = leaves
        results = convolution.convolve(x_, weight_, bias_, seq_idx, initial_, silu_activation)
    outputs = [(results[0], dout)]
    if dfinal_states is not None:
        outputs.append((results[1], dfinal_states))
    targets = [
        (leaf, target)
        for leaf, target in zip(leaves, (dx, dweight, dbias, dinitial_states), strict=True)
        if leaf is not None and target is not None
    ]
    gradients = torch.autograd.grad(
        [result for result, _ in outputs],
        [leaf for leaf, _ in targets],
        [gradient.to(result.dtype) for result, gradient in outputs],
    )
    for (_, target), gradient in zip(targets, gradients, strict=True):
        target.copy_(gradient)


def causal_conv1d_update(
    x: Tensor,
    conv_state: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    out: Tensor,
    silu_activation: bool,
    cache_seqlens: Tensor | None,
    conv_state_indices: Tensor | None,
) -> None:
    """Convolve the next steps, write to out, and change conv_state in place."""
    activation = "silu" if silu_activation else None
    out.copy_(
        convolution.causal_conv1d_update(
            x, conv_state, weight, bias, activation, cache_seqlens, conv_state_indices
        )
    )
