"""One step of Mamba-2 in plain PyTorch: the definition.

B batch   H heads   P channels of a head   N states   G groups of H / G heads
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..selective_state_update.reference import finish


def advance(
    state: Tensor, x: Tensor, dt: Tensor, log_decay: Tensor, B: Tensor, C: Tensor,
    D: Tensor | None, z: Tensor | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """New state (B, H, P, N) and out (B, H, P), without changing any input.

    dt and log_decay = dt A are (B, H) in the precision of the arithmetic, and D is (H, P).
    """
    dtype = dt.dtype
    u, per_group = x.to(dtype), x.shape[1] // B.shape[1]
    rows_B, rows_C = (t.to(dtype).repeat_interleave(per_group, 1) for t in (B, C))  # (B, H, N)
    push = (dt[..., None] * u)[..., None] * rows_B[:, :, None]
    new_state = torch.exp(log_decay)[..., None, None] * state.to(dtype) + push
    out = (new_state * rows_C[:, :, None]).sum(-1)
    return new_state, finish(out, x, D, z)


def step(
    state: Tensor, x: Tensor, dt: Tensor, log_decay: Tensor, B: Tensor, C: Tensor,
    D: Tensor | None, z: Tensor | None,
) -> Tensor:  # fmt: skip
    """Update state in place and return out (B, H, P)."""
    new_state, out = advance(state, x, dt, log_decay, B, C, D, z)
    state.copy_(new_state)
    return out
