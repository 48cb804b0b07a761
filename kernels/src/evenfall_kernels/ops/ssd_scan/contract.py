"""What a backend of ssd_scan must offer, and a tiny call.

B batch   L steps   H heads   P channels   N states   G groups   S sequences
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from evenfall.contracts import Operation, draw

from . import ssd_scan


class SsdScanBackend(Protocol):
    """A module with these functions. Tensors are checked and on one device.

    Attributes:
        CHUNK: the number of steps between two states that `forward` saves.
    """

    CHUNK: int

    def forward(
        self, x: Tensor, dt: Tensor, log_decay: Tensor, B: Tensor, C: Tensor, D: Tensor,
        z: Tensor | None, initial_state: Tensor, cu_seqlens: Tensor | None, save: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """x and z (B, L, H, P), dt and log_decay, which is dt A, (B, L, H), B and C (B, L, G, N),
        D (H, P), initial_state (S, H, P, N), cu_seqlens (S + 1,) -> y (B, L, H, P) in the dtype of
        x, the last state (S, H, P, N), and with `save` the states before each chunk, as
        `empty_outputs` of the reference shapes them."""

    def backward(
        self, grad_y: Tensor, grad_last: Tensor, states: Tensor, x: Tensor, dt: Tensor,
        log_decay: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor | None,
        initial_state: Tensor, cu_seqlens: Tensor | None,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """Gradients of x to initial_state, in the order of the arguments, each in the dtype of its
        input; a tensor without elements for None."""


def example(device: str, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Two sequences of five steps."""
    x, dt, A, B, C = draw(device, dtype, (2, 5, 4, 3), (2, 5, 4), (4,), (2, 5, 1, 6), (2, 5, 1, 6))
    result = ssd_scan(x, dt, -A.exp(), B, C, dt_softplus=True, return_last_state=True)
    assert isinstance(result, tuple)
    return result


OPERATION = Operation(SsdScanBackend, example)
