"""What a backend of selective_scan must offer, and a tiny call.

B batch   D channels   L steps   N states   G groups   S sequences   K chunks
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from evenfall.contracts import Operation, draw

from . import selective_scan


class SelectiveScanBackend(Protocol):
    """A module with these functions. Tensors are checked and on one device.

    Attributes:
        CHUNK: the number of steps between two states that `forward` saves.
    """

    CHUNK: int

    def forward(
        self, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor,
        z: Tensor | None, delta_bias: Tensor, step: Tensor | None, step_scale: Tensor,
        weight: Tensor | None, initial_state: Tensor, cu_seqlens: Tensor | None,
        delta_softplus: bool, factor: str, save: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """u, delta, z (B, D, L), A (D, N), B and C (B, G, N, L), D, delta_bias, step_scale (D,),
        step (B, L), weight (D, N), a factor of the input; initial_state (S, D, N), cu_seqlens
        (S + 1,) -> y (B, D, L) in the dtype of u, the last state (S, D, N), and with `save` the
        states before each chunk, as `empty_outputs` of the reference shapes them."""

    def backward(
        self, grad_y: Tensor, grad_last: Tensor, chunk_states: Tensor, u: Tensor, delta: Tensor,
        A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor | None, delta_bias: Tensor,
        step: Tensor | None, step_scale: Tensor, weight: Tensor | None, initial_state: Tensor,
        cu_seqlens: Tensor | None, delta_softplus: bool, factor: str,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """Gradients of u to initial_state, in the order of the arguments, each in the dtype of its
        input; a tensor without elements for None."""


def example(device: str, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Two sequences of five steps."""
    u, delta, A, B, C = draw(device, dtype, (2, 3, 5), (2, 3, 5), (3, 4), (2, 4, 5), (2, 4, 5))
    result = selective_scan(u, delta, -A.exp(), B, C, delta_softplus=True, return_last_state=True)
    assert isinstance(result, tuple)
    return result


OPERATION = Operation(SelectiveScanBackend, example)
