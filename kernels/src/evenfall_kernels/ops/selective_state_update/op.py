"""selective_state_update as a torch.library custom op that mutates its state."""

from __future__ import annotations

import torch
from torch import Tensor

from ...common.dispatch import backend_module


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
    rows: Tensor | None,
    backend: str,
) -> Tensor:
    """state (B, D, N) in place, B and C (B, G, N) -> out (B, D) in the dtype of x."""
    module = backend_module("selective_state_update", backend)
    return module.step(state, x, dt, A, B, C, D, z, dt_bias, dt_softplus, rows)


@selective_state_update_op.register_fake
def _(
    state: Tensor, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None,
    z: Tensor | None, dt_bias: Tensor | None, dt_softplus: bool, rows: Tensor | None, backend: str,
) -> Tensor:  # fmt: skip
    return torch.empty_like(x, memory_format=torch.contiguous_format)
