"""Replacements for the five operations of a Mamba-2 mixer in transformers.

B batch   L steps   H heads   P channels of a head   N states   G groups   W filter width
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from evenfall_kernels.ops.ssd_scan.reference import step_size

from ..ssm.dual import scan_chunks
from ..ssm.heads import selective_state_update
from . import operations
from .packed import given_seq_idx
from .padding import keep_rows
from .state import forget_scan, recorded_padding

_NO_LIMIT = (0.0, float("inf"))

causal_conv1d_fn = operations.causal_conv1d_fn
causal_conv1d_update = operations.causal_conv1d_update


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
    """One token: (B, H, P) -> (B, H, P); changes state (B, H, P, N), except where it is padding."""
    real, _ = recorded_padding()
    before = None if real is None else state.clone()
    out = selective_state_update(
        state, hidden_states, dt, A, B, C, D, z, dt_bias, dt_softplus=dt_softplus
    )
    if real is not None and before is not None:
        keep_rows(real, state, before)
        forget_scan()
    return out


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

    `chunk_size` has no effect: the result does not depend on it. Packed sequences do not mix, and
    padding changes no state.
    """
    real, _ = recorded_padding()
    forget_scan()
    if real is not None:
        wide = torch.promote_types(hidden_states.dtype, torch.float32)
        dt = step_size(dt, dt_bias, dt_softplus, dt_limit, wide)
        dt = dt.masked_fill(~real[..., None], 0)
        dt_bias, dt_softplus, dt_limit = None, False, _NO_LIMIT
    state = initial_states
    if state is not None and torch.is_grad_enabled():
        state = state.clone()  # later calls change the cache in place
    seq_idx = given_seq_idx(kwargs, len(hidden_states))
    out, last = scan_chunks(
        hidden_states, dt, A, B, C, D, kwargs.get("z"), dt_bias, dt_softplus, dt_limit, state,
        seq_idx,
    )  # fmt: skip
    return (out, last) if return_final_states else out
