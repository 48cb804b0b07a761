"""What a backend of ssd_state_update must offer, and a tiny call."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from evenfall.contracts import Operation, draw

from . import ssd_state_update


class SsdStateUpdateBackend(Protocol):
    """A module with this function."""

    def step(
        self, state: Tensor, x: Tensor, dt: Tensor, log_decay: Tensor, B: Tensor, C: Tensor,
        D: Tensor | None, z: Tensor | None,
    ) -> Tensor:  # fmt: skip
        """state (batch, heads, channels, states), which is overwritten and may have any strides; x
        and z (batch, heads, channels), dt and log_decay, which is dt A, (batch, heads), B and C
        (batch, groups, states), D (heads, channels) -> (batch, heads, channels) in the dtype of
        x."""


def example(device: str, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """One step of two sequences."""
    state, x, dt, A, B, C = draw(
        device, dtype, (2, 4, 3, 6), (2, 4, 3), (2, 4), (4,), (2, 1, 6), (2, 1, 6)
    )
    out = ssd_state_update(state, x, dt, -A.exp(), B, C, dt_softplus=True)
    return out, state


OPERATION = Operation(SsdStateUpdateBackend, example)
