"""Replacements for the five operations of a Mamba-1 mixer in transformers.

B batch   D channels   L steps   N states   W filter width   K inputs in a state
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.activations import ACT2FN

from evenfall_kernels import causal_conv1d, selective_scan, selective_state_update

from ..packing import read_packing
from ..ssm.called import called_convolution, called_delta, is_called
from .packed import given_seq_idx
from .padding import NO_STEP, close_gaps, keep_rows, open_gaps
from .state import next_scan_inputs, record_convolution, recorded_padding

_SILU = ("silu", "swish")


def convolve(x: Tensor, weight: Tensor, bias: Any, activation: str | None, **more: Any) -> Tensor:
    """causal_conv1d; an activation that the kernel does not have is applied to its output."""
    called = called_convolution(x, more.get("initial_state"), more.get("cu_seqlens"))
    if called is not None:
        return called if activation is None else ACT2FN[activation](called)
    kernel_activation: Literal["silu"] | None = "silu" if activation in _SILU else None
    out = causal_conv1d(x, weight, bias, activation=kernel_activation, **more)
    return out if activation is None or kernel_activation else ACT2FN[activation](out)


def causal_conv1d_fn(
    hidden_states: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    seq_idx: Tensor | None = None,
    **kwargs: Any,
) -> Tensor:
    """(B, D, L) -> (B, D, L); packed sequences do not mix, and padding is skipped.

    Raises:
        ValueError: sequences are packed in rows with padding, and a cache is used.
    """
    seq_idx = given_seq_idx({"seq_idx": seq_idx, **kwargs}, len(hidden_states))
    record_convolution(hidden_states.shape[1], seq_idx)
    real, closed = recorded_padding()
    if seq_idx is None and real is None:
        return convolve(hidden_states, weight, bias, activation)
    if real is not None and seq_idx is None:
        inputs = hidden_states if closed else close_gaps(real, hidden_states)
        out = convolve(inputs, weight, bias, activation)
        return open_gaps(real, out[..., -real.shape[1] :])
    if closed:
        raise ValueError(
            "attention_mask must have no zeros if sequences are packed and a cache is used; "
            "pass use_cache=False, or seq_idx without attention_mask"
        )
    batch, _, length = hidden_states.shape
    rows = read_packing(seq_idx, batch, length, cached=True)
    out = convolve(rows.join(hidden_states), weight, bias, activation, cu_seqlens=rows.cu_seqlens)
    return rows.without_padding(rows.split(out))


def causal_conv1d_update(
    hidden_states: Tensor,
    conv_state: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
) -> Tensor:
    """Convolve the next steps; changes conv_state (B, D, K), K >= W - 1, in place.

    A row whose single step is padding keeps its state.
    """
    capacity, needed = conv_state.shape[2], weight.shape[1] - 1
    inputs = torch.cat([conv_state, hidden_states.to(conv_state.dtype)], dim=2)
    conv_state.copy_(inputs[..., inputs.shape[2] - capacity :])
    real, _ = recorded_padding()
    if real is not None and hidden_states.shape[2] == 1:
        record_convolution(hidden_states.shape[1], None)
        keep_rows(real, conv_state, inputs[..., :capacity])
    initial = inputs[..., capacity - needed : capacity]
    if is_called() or hidden_states.shape[2] > 1 or activation not in (*_SILU, None):
        return convolve(hidden_states, weight, bias, activation, initial_state=initial)
    # for one step, these three torch operations take half the time of a kernel
    wide = torch.promote_types(inputs.dtype, torch.float32)
    out = (inputs[..., capacity - needed :].to(wide) * weight).sum(2, keepdim=True)
    out = out if bias is None else out + bias[:, None]
    out = out if activation is None else F.silu(out)
    return out.to(hidden_states.dtype)


def mamba_inner_fn(*args: Any, **kwargs: Any) -> None:
    """Return None, so that training calls convolution and scan instead of this fused function.

    The fused function supports neither an attention mask nor packing, and is no faster.
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
    """One token: (B, D) -> (B, D); changes state (B, D, N) in place, except where it is padding."""
    dt = called_delta(dt, 1)
    real, _ = recorded_padding()
    before = None
    if real is not None:
        next_scan_inputs(hidden_states.shape[1], use_cache=False)
        before = state.clone()
    out = selective_state_update(
        state, hidden_states, dt, A, B, C, D, z=z, dt_bias=dt_bias, dt_softplus=dt_softplus
    )
    if real is not None and before is not None:
        keep_rows(real, state, before)
    return out


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
    """Several tokens, from the layer's recurrent state: (B, D, L) -> (B, D, L)."""
    state, seq_idx, real = next_scan_inputs(hidden_states.shape[1], use_cache=return_last_state)
    dt = called_delta(dt, 1)
    if real is not None:
        dt = torch.where(real[:, None], dt, NO_STEP)
    signals, rows = [hidden_states, dt, B, C, z], None
    if seq_idx is not None:
        rows = read_packing(seq_idx, len(hidden_states), hidden_states.shape[2])
        signals = [None if signal is None else rows.join(signal) for signal in signals]
        state = rows.sequence_states(state)
    u, delta, B, C, z = signals
    out, last = selective_scan(
        u, delta, A, B, C, D, z, delta_bias, delta_softplus, True, initial_state=state,
        cu_seqlens=None if rows is None else rows.cu_seqlens,
    )  # fmt: skip
    if rows is not None:
        out, last = rows.split(out), last[rows.last]
    return (out, last) if return_last_state else out
