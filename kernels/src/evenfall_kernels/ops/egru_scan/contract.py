"""What a backend of egru_scan must offer, and a tiny call.

N rows of all sequences, step by step, longest sequence first   B sequences   H units
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from evenfall.contracts import Operation, draw

from . import egru_scan


class EgruScanBackend(Protocol):
    """A module with these functions. Tensors are checked, contiguous and on one device."""

    def forward(
        self, gates_x: Tensor, recurrent_kernel: Tensor, recurrent_bias: Tensor, threshold: Tensor,
        y0: Tensor, h0: Tensor, keep: Tensor | None, keep_rate: float, batch_sizes: list[int],
        dampening: float, support: float, save: bool, event_driven: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        """gates_x (N, 3H) is x W + b; recurrent_kernel (H, 3H), recurrent_bias (3H,), threshold
        (H,), y0 and h0 (B, H), keep (N, H) bool; batch_sizes has the sequences at each step, which
        do not increase -> y (N, H), c (N, H), the last h (B, H), and with `save` gates (N, 3H) and
        the recurrent candidate (N, H) for `backward`; without, tensors without elements."""

    def backward(
        self, grad_y: Tensor, grad_c: Tensor, grad_h: Tensor, gates: Tensor, candidate: Tensor,
        y: Tensor, c: Tensor, recurrent_kernel: Tensor, recurrent_bias: Tensor, threshold: Tensor,
        y0: Tensor, h0: Tensor, keep: Tensor | None, keep_rate: float, batch_sizes: list[int],
        dampening: float, support: float,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """Gradients of gates_x, recurrent_kernel, recurrent_bias, threshold, y0 and h0."""


def example(device: str, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Two sequences of five steps."""
    x, *weights = draw(device, dtype, (2, 5, 3), (3, 12), (4, 12), (12,), (12,), (4,))
    result = egru_scan(x, *weights, return_cells=True)
    assert result.cells is not None
    return result.y, *result.state, result.cells


OPERATION = Operation(EgruScanBackend, example)
