"""What a backend of causal_conv1d must offer, and a tiny call.

B batch   D channels   L steps   W filter width   S sequences
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from evenfall.contracts import Operation, draw

from . import causal_conv1d


class CausalConv1dBackend(Protocol):
    """A module with these functions. Tensors are checked and on one device."""

    def forward(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, initial_state: Tensor | None,
        cu_seqlens: Tensor | None, silu: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """x (B, D, L), weight (D, W), bias (D,), initial_state (S, D, W - 1), cu_seqlens (S + 1,)
        -> out (B, D, L) and the final state (S, D, W - 1), both in the dtype of x."""

    def backward(
        self, grad_out: Tensor, grad_final: Tensor, x: Tensor, weight: Tensor,
        bias: Tensor | None, initial_state: Tensor | None, cu_seqlens: Tensor | None, silu: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        """Gradients of x, weight, bias and initial_state, each in the dtype of its input; a tensor
        without elements for None."""


def example(device: str, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Two sequences of five steps."""
    x, weight = draw(device, dtype, (2, 3, 5), (3, 4))
    result = causal_conv1d(x, weight, activation="silu", return_final_state=True)
    assert isinstance(result, tuple)
    return result


OPERATION = Operation(CausalConv1dBackend, example)
