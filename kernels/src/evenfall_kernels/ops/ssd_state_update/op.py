"""ssd_state_update as a torch.library custom op that mutates its state."""

from __future__ import annotations

import torch
from torch import Tensor

from ...common.dispatch import backend_module


@torch.library.custom_op("evenfall::ssd_state_update", mutates_args={"state"})
def ssd_state_update_op(
    state: Tensor,
    x: Tensor,
    dt: Tensor,
    log_decay: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    backend: str,
) -> Tensor:
    """state (B, H, P, N) in place -> out (B, H, P) in the dtype of x."""
    module = backend_module("ssd_state_update", backend)
    return module.step(state, x, dt, log_decay, B, C, D, z)


@ssd_state_update_op.register_fake
def _(
    state: Tensor, x: Tensor, dt: Tensor, log_decay: Tensor, B: Tensor, C: Tensor,
    D: Tensor | None, z: Tensor | None, backend: str,
) -> Tensor:  # fmt: skip
    return torch.empty_like(x, memory_format=torch.contiguous_format)
