"""Replacements for the five operations of a Mamba-2 mixer in transformers.

B batch   L steps   H heads   P channels of a head   N states   G groups   W filter width
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from evenfall_kernels import ssd_scan, ssd_state_update

from ..packing import read_packing
from ..ssm.step import selective_state_update
from . import operations
from .packed import given_seq_idx

_NO_LIMIT = (0.0, float("inf"))

causal_conv1d_update = operations.causal_conv1d_update


def causal_conv1d_fn(
    hidden_states: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    **kwargs: Any,
) -> Tensor:
    """(B, D, L) -> (B, D, L); packed sequences do not mix."""
    seq_idx = given_seq_idx(kwargs, len(hidden_states))
    return operations.causal_conv1d_fn(hidden_states, weight, bias, activation, seq_idx=seq_idx)


def mamba2_split_conv1d_scan_combined(*args: Any, **kwargs: Any) -> None:
    """Return None, so that training calls convolution and scan instead of this fused function."""
    return None


def mamba2_selective_state_update(
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
    """One token: (B, H, P) -> (B, H, P); changes state (B, H, P, N) in place.

    The mixers repeat dt, A, D and dt_bias for all channels without copying them. The kernel then
    takes one of each head.
    """
    by_head = (dt, A, D, dt_bias)
    if all(t is None or _repeats(t, 2 if t is A else 1) for t in by_head):
        return ssd_state_update(
            state, hidden_states, dt[..., 0], A[:, 0, 0], B, C, None if D is None else D[:, 0], z,
            None if dt_bias is None else dt_bias[:, 0], dt_softplus,
        )  # fmt: skip
    return selective_state_update(
        state, hidden_states, dt, A, B, C, D, z, dt_bias, dt_softplus=dt_softplus
    )


def _repeats(tensor: Tensor, dimensions: int) -> bool:
    """Whether its last dimensions are one value, repeated."""
    sizes = zip(tensor.stride()[-dimensions:], tensor.shape[-dimensions:], strict=True)
    return all(stride == 0 or size == 1 for stride, size in sizes)


def mamba2_chunk_scan(
    hidden_states: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    chunk_size: int,
    D: Tensor | None = None,
    dt_bias: Tensor | None = None,
    initial_states: Tensor | None = None,
    dt_softplus: bool = False,
    dt_limit: tuple[float, float] = _NO_LIMIT,
    return_final_states: bool = False,
    **kwargs: Any,
) -> Any:
    """Several tokens: (B, L, H, P) -> (B, L, H, P), and the last state (B, H, P, N) if wanted.

    `chunk_size` has no effect: the result does not depend on it. Packed sequences do not mix.
    """
    batch, length = hidden_states.shape[:2]
    seq_idx = given_seq_idx(kwargs, batch)
    signals, state, rows = [hidden_states, dt, B, C, kwargs.get("z")], initial_states, None
    if state is not None and torch.is_grad_enabled():
        state = state.clone()  # later calls change the cache in place
    if seq_idx is not None:
        rows = read_packing(seq_idx, length)
        signals = [
            None if t is None else t.reshape(1, batch * length, *t.shape[2:]) for t in signals
        ]
        state = rows.sequence_states(state)
    x, dt, B, C, z = signals
    out, last = ssd_scan(
        x, dt, A, B, C, D, z, dt_bias, dt_softplus, True, dt_limit=dt_limit, initial_state=state,
        cu_seqlens=None if rows is None else rows.cu_seqlens,
    )  # fmt: skip
    if rows is not None:
        out, last = out.view(hidden_states.shape), last[rows.last]
    return (out, last) if return_final_states else out
