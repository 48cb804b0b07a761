"""What a backend of egru_step must offer, and a tiny call. B batch, H units, V vocabulary."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from evenfall.contracts import Operation, draw

from . import EgruStack, EgruWeights, egru_step


class EgruStepBackend(Protocol):
    """A module with this function."""

    def step(
        self, stack: EgruStack, ids: Tensor, states: list[tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """ids (B,) int64 and (y, h) of each layer, each (B, H), contiguous -> the logits (B, V), or
        the outputs of the last layer if the stack has no decoder, and the new states; those of the
        arguments do not change.

        Raises:
            IndexError: an id is not in [0, V).
        """


def example(device: str, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """One token of two sequences through one layer."""
    embedding, *weights, y, h = draw(
        device, dtype, (6, 3), (3, 12), (4, 12), (12,), (12,), (4,), (2, 4), (2, 4)
    )
    stack = EgruStack(embedding, [EgruWeights(*weights)])
    with torch.no_grad():
        out, ((y, h),) = egru_step(stack, torch.tensor([1, 5], device=device), [(y, h)])
    return out, y, h


OPERATION = Operation(EgruStepBackend, example)
