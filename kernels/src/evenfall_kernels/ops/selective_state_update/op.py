"""selective_state_update as a torch.library custom op that declares its change of the state."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from evenfall.backends import select


def load_backend(x: Tensor, state: Tensor) -> Any:
    """The backend module that serves this device and the wider of the two dtypes."""
    dtype = torch.float64 if torch.float64 in (x.dtype, state.dtype) else x.dtype
    return select("selective_state_update", device=x.device.type, dtype=dtype).load()


@torch.library.custom_op("evenfall::selective_state_update", mutates_args={"state"})
def selective_state_update_op(
    state: Tensor,
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    dt_bias: Tensor | None,
    dt_softplus: bool,
) -> Tensor:
    """state (B, D, N) in place, B and C (B, G, N) -> out (B, D) in the dtype of x."""
    return load_backend(x, state).step(state, x, dt, A, B, C, D, z, dt_bias, dt_softplus)


@selective_state_update_op.register_fake
def _(
    state: Tensor, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None,
    z: Tensor | None, dt_bias: Tensor | None, dt_softplus: bool,
) -> Tensor:  # fmt: skip
    return torch.empty_like(x, memory_format=torch.contiguous_format)
