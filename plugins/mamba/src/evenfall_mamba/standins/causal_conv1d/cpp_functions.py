"""Stand-in for `causal_conv1d.cpp_functions`, which allocates results and calls the extension."""

from __future__ import annotations

import torch
from torch import Tensor

from evenfall_mamba.standins import causal_conv1d_cuda

__all__ = [
    "causal_conv1d_bwd_function",
    "causal_conv1d_fwd_function",
    "causal_conv1d_update_function",
]


def causal_conv1d_fwd_function(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    seq_idx: Tensor | None,
    initial_states: Tensor | None,
    final_states_out: Tensor | None,
    silu_activation: bool,
) -> Tensor:
    """(B, D, L) -> (B, D, L), in the memory layout of x."""
    out = torch.empty_like(x)
    causal_conv1d_cuda.causal_conv1d_fwd(
        x, weight, bias, seq_idx, initial_states, out, final_states_out, silu_activation
    )
    return out


def causal_conv1d_bwd_function(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    dout: Tensor,
    seq_idx: Tensor | None,
    initial_states: Tensor | None,
    dfinal_states: Tensor | None,
    dx: Tensor | None,
    return_dinitial_states: bool,
    silu_activation: bool,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Gradients of x, weight, bias and initial_states; that of x is written to dx if given."""
    dx = torch.empty_like(x) if dx is None else dx
    dweight = torch.empty_like(weight)
    dbias = None if bias is None else torch.empty_like(bias)
    before = (*x.shape[:2], weight.shape[1] - 1)
    dinitial = x.new_empty(before) if return_dinitial_states else None
    causal_conv1d_cuda.causal_conv1d_bwd(
        x, weight, bias, dout, seq_idx, initial_states, dfinal_states, dx, dweight, dbias,
        dinitial, silu_activation,
    )  # fmt: skip
    return dx, dweight, dbias, dinitial


def causal_conv1d_update_function(
    x: Tensor,
    conv_state: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    silu_activation: bool,
    cache_seqlens: Tensor | None,
    conv_state_indices: Tensor | None,
) -> Tensor:
    """Convolve the next steps, (B, D) or (B, D, L); changes conv_state in place."""
    out = torch.empty_like(x)
    causal_conv1d_cuda.causal_conv1d_update(
        x, conv_state, weight, bias, out, silu_activation, cache_seqlens, conv_state_indices
    )
    return out
