"""One step of a selective scan in plain PyTorch: the definition.

B batch   D channels   N states   G groups of D / G channels
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...common.slots import Slots


def advance(
    state: Tensor, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None,
    z: Tensor | None, dt_bias: Tensor | None, dt_softplus: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """New state (B, D, N) and out (B, D), without changing any input. B and C are (B, G, N)."""
    dtype = torch.float64 if torch.float64 in (x.dtype, state.dtype) else torch.float32
    wide_x, delta = x.to(dtype), step_size(dt, dt_bias, dt_softplus, dtype)
    per_group = x.shape[1] // B.shape[1]
    rows_B, rows_C = (t.to(dtype).repeat_interleave(per_group, 1) for t in (B, C))  # (B, D, N)
    decay = torch.exp(delta.unsqueeze(-1) * A.to(dtype))
    new_state = decay * state.to(dtype) + (delta * wide_x).unsqueeze(-1) * rows_B
    out = (new_state * rows_C).sum(-1)
    return new_state, finish(out, x, D, z)


def step_size(dt: Tensor, dt_bias: Tensor | None, softplus: bool, dtype: torch.dtype) -> Tensor:
    """delta (B, D) in `dtype`."""
    delta = dt.to(dtype)
    if dt_bias is not None:
        delta = delta + dt_bias.to(dtype)
    return F.softplus(delta) if softplus else delta


def finish(out: Tensor, x: Tensor, D: Tensor | None, z: Tensor | None) -> Tensor:
    """Apply skip connection and gate; the result has the dtype of x."""
    if D is not None:
        out = out + x.to(out.dtype) * D.to(out.dtype)
    if z is not None:
        out = out * F.silu(z.to(out.dtype))
    return out.to(x.dtype)


def step(
    state: Tensor, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None,
    z: Tensor | None, dt_bias: Tensor | None, dt_softplus: bool, rows: Tensor | None,
) -> Tensor:  # fmt: skip
    """Update state in place and return out (B, D).

    Element b of the batch has the row rows[b] (B,) int64 of the state; a negative one is padding.
    """
    rest = (x, dt, A, B, C, D, z, dt_bias, dt_softplus)
    if rows is None:
        new_state, out = advance(state, *rest)
        state.copy_(new_state)
        return out
    slots = Slots(rows.clamp(min=0), rows >= 0)
    new_state, out = advance(slots.read(state), *rest)
    slots.write(state, new_state)
    return slots.without_padding(out)
