"""The references of `causal_conv1d` in plain PyTorch, for those who test against them.

B batch   D channels   L steps   W filter width   K inputs in a state   S sequences
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from evenfall.errors import shorten

_ACTIVATIONS = (None, "silu", "swish")


def causal_conv1d_ref(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    initial_states: Tensor | None = None,
    return_final_states: bool = False,
    final_states_out: Tensor | None = None,
    activation: str | None = None,
    seq_idx: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """`causal_conv1d_fn`, window by window, in the dtype of the weight.

    Raises:
        NotImplementedError: another activation.
    """
    _check(activation)
    width = weight.shape[1]
    if initial_states is None:
        initial_states = x.new_zeros(*x.shape[:2], width - 1)
    inputs = torch.cat([initial_states.to(weight.dtype), x.to(weight.dtype)], dim=2)
    if seq_idx is not None:
        earlier = seq_idx[:, :1].expand(-1, width - 1)
        numbers = torch.cat([earlier, seq_idx], dim=1)
        final = inputs[..., x.shape[2] :] * (
            numbers[:, None, x.shape[2] :] == seq_idx[:, None, -1:]
        )
        same = numbers.unfold(1, width, 1) == seq_idx[..., None]  # (B, L, W)
        windows = inputs.unfold(2, width, 1) * same[:, None]
    else:
        final, windows = inputs[..., x.shape[2] :], inputs.unfold(2, width, 1)
    out = (windows * weight[:, None]).sum(-1)
    out = out if bias is None else out + bias[:, None]
    if seq_idx is not None:
        out = out.masked_fill(seq_idx[:, None] < 0, 0)
    out = (out if activation is None else F.silu(out)).to(x.dtype)
    if not return_final_states:
        return out
    final = final.to(x.dtype)
    return out, final if final_states_out is None else final_states_out.copy_(final)


def causal_conv1d_update_ref(
    x: Tensor,
    conv_state: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    cache_seqlens: Tensor | None = None,
) -> Tensor:
    """`causal_conv1d_update`, step by step, in the dtype of the weight; changes conv_state.

    Raises:
        NotImplementedError: another activation.
    """
    _check(activation)
    width, capacity, batch = weight.shape[1], conv_state.shape[2], len(x)
    steps = (x[..., None] if x.dim() == 2 else x).unbind(2)
    rows, outputs = torch.arange(batch, device=x.device), []
    recent = conv_state[..., capacity - width + 1 :]
    if cache_seqlens is not None:
        places = cache_seqlens[:, None] + torch.arange(1 - width, 0, device=x.device)
        index = places.remainder(capacity).long()[:, None].expand(-1, x.shape[1], -1)
        recent = conv_state.gather(2, index)
    recent = recent.to(weight.dtype)
    for number, step in enumerate(steps):
        window = torch.cat([recent, step[..., None].to(weight.dtype)], dim=2)
        out = (window * weight).sum(2)
        out = out if bias is None else out + bias
        outputs.append(out if activation is None else F.silu(out))
        recent = window[..., 1:]
        if cache_seqlens is None:
            conv_state.copy_(torch.cat([conv_state[..., 1:], step[..., None]], dim=2))
        else:
            conv_state[rows, :, (cache_seqlens.long() + number) % capacity] = step
    result = torch.stack(outputs, dim=2).to(x.dtype)
    return result[..., 0] if x.dim() == 2 else result


def causal_conv1d_varlen_states_ref(x: Tensor, cu_seqlens: Tensor, state_len: int) -> Tensor:
    """`causal_conv1d_varlen_states`, sequence by sequence: x (steps, D) -> (S, D, state_len)."""
    bounds = cu_seqlens.tolist()
    states = x.new_zeros(len(bounds) - 1, x.shape[1], state_len)
    for state, (start, stop) in zip(states, pairwise(bounds), strict=True):
        last = x[max(start, stop - state_len) : stop]
        if len(last):
            state[:, -len(last) :] = last.T
    return states


def _check(activation: str | None) -> None:
    if activation not in _ACTIVATIONS:
        raise NotImplementedError(
            f"activation must be None, 'silu' or 'swish', got {shorten(activation)}"
        )
