"""What takes the place of transformers' five operations of a Mamba-1 mixer.

B batch   D channels   L steps   N states   W filter width
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.activations import ACT2FN

from evenfall_kernels import causal_conv1d, selective_scan, selective_state_update

from ..packing import packing
from .carried import note_convolution, take_noted

_SILU = ("silu", "swish")


def _convolve(x: Tensor, weight: Tensor, bias: Any, activation: str | None, **more: Any) -> Tensor:
    """causal_conv1d, with activations that the kernel does not know applied after it."""
    inside: Literal["silu"] | None = "silu" if activation in _SILU else None
    out = causal_conv1d(x, weight, bias, activation=inside, **more)
    return out if activation is None or inside else ACT2FN[activation](out)


def causal_conv1d_fn(
    hidden_states: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    seq_idx: Tensor | None = None,
    **kwargs: Any,
) -> Tensor:
    """(B, D, L) -> (B, D, L), each packed sequence on its own."""
    note_convolution(hidden_states.shape[1], seq_idx)
    if seq_idx is None:
        return _convolve(hidden_states, weight, bias, activation)
    rows = packing(seq_idx, hidden_states.shape[2])
    out = _convolve(rows.join(hidden_states), weight, bias, activation, cu_seqlens=rows.cu_seqlens)
    return rows.without_padding(rows.split(out))


def causal_conv1d_update(
    hidden_states: Tensor,
    conv_state: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
) -> Tensor:
    """The same for the next few steps; conv_state (B, D, >= W - 1) is changed in place."""
    kept, needed = conv_state.shape[2], weight.shape[1] - 1
    seen = torch.cat([conv_state, hidden_states.to(conv_state.dtype)], dim=2)
    conv_state.copy_(seen[..., seen.shape[2] - kept :])
    if hidden_states.shape[2] > 1 or activation not in (*_SILU, None):
        before = seen[..., kept - needed : kept]
        return _convolve(hidden_states, weight, bias, activation, initial_state=before)
    # one step is too little for a kernel: three operations of torch take half its time
    out = (seen[..., kept - needed :] * weight).sum(2, keepdim=True, dtype=torch.float32)
    out = out if bias is None else out + bias[:, None]
    out = out if activation is None else F.silu(out)
    return out.to(hidden_states.dtype)


def mamba_inner_fn(*args: Any, **kwargs: Any) -> None:
    """None, which sends training through the two operations here.

    The fused path has no attention mask and no packing, and nothing to gain over them.
    """
    return None


def mamba_selective_state_update(
    state: Tensor,
    hidden_states: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    dt_bias: Tensor | None = None,
    dt_softplus: bool = False,
    z: Tensor | None = None,
    **kwargs: Any,
) -> Tensor:
    """One token: state (B, D, N) in place, (B, D) -> (B, D)."""
    return selective_state_update(
        state, hidden_states, dt, A, B, C, D, z=z, dt_bias=dt_bias, dt_softplus=dt_softplus
    )


def mamba_selective_scan(
    hidden_states: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
    use_mambapy: bool = False,
    use_associative_scan: bool = False,
    **kwargs: Any,
) -> Any:
    """Several tokens, from the state that the mixer has so far: (B, D, L) -> (B, D, L)."""
    state, seq_idx = take_noted(hidden_states.shape[1], cached=return_last_state)
    signals, rows = [hidden_states, dt, B, C, z], None
    if seq_idx is not None:
        rows = packing(seq_idx, hidden_states.shape[2])
        signals = [None if signal is None else rows.join(signal) for signal in signals]
        state = rows.spread(state)
    u, delta, B, C, z = signals
    out, last = selective_scan(
        u, delta, A, B, C, D, z, delta_bias, delta_softplus, True, initial_state=state,
        cu_seqlens=None if rows is None else rows.cu_seqlens,
    )  # fmt: skip
    if rows is not None:
        out, last = rows.split(out), last[rows.last]
    return (out, last) if return_last_state else out
