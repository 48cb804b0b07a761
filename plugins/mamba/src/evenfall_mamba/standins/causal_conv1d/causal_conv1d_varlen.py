"""Stand-in for `causal_conv1d.causal_conv1d_varlen`."""

from __future__ import annotations

import torch
from torch import Tensor

from evenfall_mamba.ssm.convolution_reference import causal_conv1d_varlen_states_ref

__all__ = ["causal_conv1d_varlen_states", "causal_conv1d_varlen_states_ref"]


def causal_conv1d_varlen_states(x: Tensor, cu_seqlens: Tensor, state_len: int) -> Tensor:
    """The last inputs of each packed sequence, padded on the left with zeros.

    Args:
        x: (total length, D), S sequences one after the other.
        cu_seqlens: (S + 1,) integers, where each sequence starts, and the end of the last.
        state_len: number of inputs to return.

    Returns:
        (S, D, state_len).
    """
    ends = cu_seqlens[1:].long()[:, None]
    index = ends + torch.arange(-state_len, 0, device=x.device)  # (S, state_len)
    inside = index >= cu_seqlens[:-1].long()[:, None]
    states = torch.where(inside[..., None], x[index.clamp(min=0)], 0)
    return states.transpose(1, 2)
