"""`selective_state_update` of `mamba_ssm`, with the heads and the state indices of Mamba-2.

B batch   H heads   D channels of a head   N states   G groups
"""

from __future__ import annotations

import torch
from torch import Tensor

from eventide_kernels import selective_state_update as one_token


def selective_state_update(
    state: Tensor,
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    dt_bias: Tensor | None = None,
    dt_softplus: bool = False,
    state_batch_indices: Tensor | None = None,
) -> Tensor:
    """Advance by one token; the state is changed in place.

    Args:
        state: (B, D, N) or (B, H, D, N).
        x: (B, D) or (B, H, D).
        dt: as x.
        A: (D, N) or (H, D, N).
        B: (B, N) or (B, G, N).
        C: as B.
        D: (D,) or (H, D).
        z: as x.
        dt_bias: as D.
        dt_softplus: whether dt goes through softplus.
        state_batch_indices: (B,) integers, the rows of state to use, which then may have more of
            them than B; a negative one marks padding, whose output is zero.

    Returns:
        As x.

    Raises:
        TypeError: a tensor that is not floating point.
        ValueError: shapes or devices do not match.
    """
    heads = state.dim() == 4
    if state_batch_indices is None:
        if not heads:
            return one_token(state, x, dt, A, B, C, D, z, dt_bias, dt_softplus)
        rows = state
    else:
        rows = state[state_batch_indices.clamp(min=0)]
    merged = rows.flatten(1, 2).contiguous() if heads else rows
    flat = [_merge(t, heads, 1) for t in (x, dt)], [_merge(t, heads, 0) for t in (A, D, dt_bias)]
    (x_, dt_), (A_, D_, bias_) = flat
    out = one_token(merged, x_, dt_, A_, B, C, D_, _merge(z, heads, 1), bias_, dt_softplus)
    after, out = merged.reshape(rows.shape), out.reshape(x.shape)
    if state_batch_indices is None:
        if after.data_ptr() != state.data_ptr():  # flattening made a copy
            state.copy_(after)
        return out
    used = state_batch_indices >= 0
    state[state_batch_indices[used]] = after[used]
    return torch.where(used.reshape(-1, *[1] * (out.dim() - 1)), out, 0)


def _merge(tensor: Tensor | None, heads: bool, dim: int) -> Tensor | None:
    """Heads and their channels as one dimension."""
    return tensor.flatten(dim, dim + 1) if heads and tensor is not None else tensor
