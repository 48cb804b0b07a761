"""What a backend of selective_state_update must offer, and a tiny call."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from evenfall.contracts import Operation, draw

from . import selective_state_update


class SelectiveStateUpdateBackend(Protocol):
    """A module with this function."""

    def step(
        self, state: Tensor, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor,
        D: Tensor | None, z: Tensor | None, dt_bias: Tensor | None, dt_softplus: bool,
        rows: Tensor | None,
    ) -> Tensor:  # fmt: skip
        """state (rows, dim, n), which is overwritten and may have any strides; x, dt, z
        (batch, dim), A (dim, n), B and C (batch, groups, n), D and dt_bias (dim,), and in rows
        (batch,) int64 the row of the state of each element, negative for padding; None if they are
        in order -> (batch, dim) in the dtype of x."""


def example(device: str, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """One step of two sequences."""
    state, x, dt, A, B, C = draw(device, dtype, (2, 3, 4), (2, 3), (2, 3), (3, 4), (2, 4), (2, 4))
    out = selective_state_update(state, x, dt, -A.exp(), B, C, dt_softplus=True)
    return out, state


OPERATION = Operation(SelectiveStateUpdateBackend, example)
