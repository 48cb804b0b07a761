"""The rows of a state that a batch uses, chosen by index; a negative index marks padding.

Servers keep one row of a state for each sequence and run a batch of some of them. They fill a
batch up with padding, which has no row: `causal_conv1d_update` and `selective_state_update` of the
published packages leave the state alone there and return zeros.

B batch   S rows of the state, at least as many as the batch uses
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True, slots=True)
class Slots:
    """Rows of a state (S, ...).

    Attributes:
        rows: (B,) int64, the row of each sequence, 0 for padding.
        used: (B,) bool, false for padding.
    """

    rows: Tensor
    used: Tensor

    def read(self, state: Tensor) -> Tensor:
        """A copy of the rows, (B, ...); whatever the first row holds for padding."""
        return state[self.rows]

    def write(self, state: Tensor, rows: Tensor) -> None:
        """Put rows (B, ...) back in place, except those of padding."""
        used = self.used
        state[self.rows[used]] = rows[used].to(state.dtype)

    def without_padding(self, out: Tensor) -> Tensor:
        """An output (B, ...), zero for padding."""
        return torch.where(self.used.reshape(-1, *[1] * (out.dim() - 1)), out, 0)


def slots(name: str, indices: Tensor, batch: int, state: Tensor) -> Slots:
    """Read the argument `name`, (B,) integers, each negative or below S.

    Raises:
        TypeError: no tensor of integers.
        ValueError: another shape, or an index of a row that the state does not have. On a GPU the
            last is PyTorch's to notice, since looking would make the program wait.
    """
    if not isinstance(indices, Tensor) or indices.dtype not in _INTEGERS:
        got = indices.dtype if isinstance(indices, Tensor) else type(indices).__name__
        raise TypeError(f"{name} must be a Tensor of integers, got {got}")
    if tuple(indices.shape) != (batch,):
        raise ValueError(
            f"{name} must have shape ({batch},) to match x, got {tuple(indices.shape)}"
        )
    seen = indices.device.type == "cpu" and not torch.compiler.is_compiling()
    if seen and batch and (largest := int(indices.max())) >= len(state):
        raise ValueError(f"{name} must be below {len(state)}, the rows of the state, got {largest}")
    rows = indices.long()
    return Slots(rows.clamp(min=0), rows >= 0)
