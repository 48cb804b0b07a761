"""Indices of the state rows that a batch uses; a negative index marks padding.

Servers keep one state row for each sequence and run a batch of some sequences. They fill the batch
with padding, which has no row. For padding, the output is zero and no state changes, as in the
published packages.

B batch   S rows of the state
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
        valid: (B,) bool, false for padding.
    """

    rows: Tensor
    valid: Tensor

    def read(self, state: Tensor) -> Tensor:
        """A copy of the rows, (B, ...); for padding, a copy of the first row."""
        return state[self.rows]

    def write(self, state: Tensor, rows: Tensor) -> None:
        """Write rows (B, ...) to the state in place, except those of padding."""
        valid = self.valid
        state[self.rows[valid]] = rows[valid].to(state.dtype)

    def without_padding(self, out: Tensor) -> Tensor:
        """An output (B, ...) with zeros for padding."""
        return torch.where(self.valid.reshape(-1, *[1] * (out.dim() - 1)), out, 0)


def read_slots(name: str, indices: Tensor, batch: int, state: Tensor) -> Slots:
    """Check the argument `name`, (B,) integers, each negative or below S, and make its Slots.

    Raises:
        TypeError: not a tensor of integers.
        ValueError: another shape or device, an index of S or more, or a row twice. Indices are
            checked on the CPU only: elsewhere the check would wait for the device. There PyTorch
            reports the error where it indexes, and a kernel that indexes by itself must stay inside
            the state.
    """
    if not isinstance(indices, Tensor) or indices.dtype not in _INTEGERS:
        got = indices.dtype if isinstance(indices, Tensor) else type(indices).__name__
        raise TypeError(f"{name} must be a Tensor of integers, got {got}")
    if tuple(indices.shape) != (batch,):
        raise ValueError(
            f"{name} must have shape ({batch},) to match x, got {tuple(indices.shape)}"
        )
    if indices.device != state.device:
        raise ValueError(f"{name} is on {indices.device}, but the state is on {state.device}")
    readable = indices.device.type == "cpu" and not torch.compiler.is_compiling()
    if readable:
        _check_values(name, indices.tolist(), len(state))
    rows = indices.long()
    return Slots(rows.clamp(min=0), rows >= 0)


def _check_values(name: str, indices: list[int], rows: int) -> None:
    used = [index for index in indices if index >= 0]
    if used and (largest := max(used)) >= rows:
        raise ValueError(f"{name} must be below {rows}, the number of state rows, got {largest}")
    if len({*used}) < len(used):
        twice = next(index for index in used if used.count(index) > 1)
        raise ValueError(f"{name} must have each row at most once, got {twice} twice")
