"""Converts packed batches to the form that the kernels take.

transformers marks the sequence of each token with `seq_idx` (B, L). The kernels take one row of
sequences and their boundaries, `cu_seqlens`. The rows of a batch are joined to one.

B rows   D channels   L steps   S sequences
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Packing:
    """The sequences of all rows, in order.

    Attributes:
        batch: B, the number of rows.
        cu_seqlens: (S + 1,) int64, where each sequence starts, and the end of the last.
        first: (B,) int64, the first sequence of each row; it continues the previous call.
        last: (B,) int64, the last sequence of each row; the next call continues it.
        padding: (B, L) bool, steps with a negative `seq_idx`, which belong to no sequence.
    """

    batch: int
    cu_seqlens: Tensor
    first: Tensor
    last: Tensor
    padding: Tensor

    def join(self, signal: Tensor) -> Tensor:
        """(B, D, L) -> (1, D, B * L)."""
        return signal.transpose(0, 1).reshape(1, signal.shape[1], -1)

    def split(self, signal: Tensor) -> Tensor:
        """(1, D, B * L) -> (B, D, L)."""
        return signal.reshape(signal.shape[1], self.batch, -1).transpose(0, 1)

    def without_padding(self, signal: Tensor) -> Tensor:
        """A signal (B, D, L) with zeros at padding, as the package `causal_conv1d` returns it."""
        return signal.masked_fill(self.padding[:, None], 0)

    def sequence_states(self, state: Tensor | None) -> Tensor | None:
        """(B, ...) -> (S, ...): each row's state for its first sequence, zero for the others."""
        if state is None:
            return None
        sequences = self.cu_seqlens.numel() - 1
        return state.new_zeros(sequences, *state.shape[1:]).index_copy(0, self.first, state)


def read_packing(seq_idx: Tensor, batch: int, length: int, cached: bool = False) -> Packing:
    """The sequences that `seq_idx` (B, L) marks in a signal of `batch` rows and `length` steps.

    With `cached`, the signal may begin with steps of a cache, which `seq_idx` does not have: they
    belong to the first sequence of their row.

    Raises:
        ValueError: seq_idx has another shape, or no step.
    """
    shape, fewest = tuple(seq_idx.shape), 1 if cached else length
    if len(shape) != 2 or shape[0] != batch or not 0 < fewest <= shape[1] <= length:
        steps = f"1 to {length}" if cached else length
        raise ValueError(
            f"seq_idx must have shape (batch, steps) = ({batch}, {steps}), got {shape}"
        )
    cached_steps = seq_idx[:, :1].expand(-1, length - seq_idx.shape[1])
    numbers = torch.cat([cached_steps, seq_idx], dim=1)
    starts = torch.ones_like(numbers, dtype=torch.bool)
    starts[:, 1:] = numbers[:, 1:] != numbers[:, :-1]
    offsets = starts.flatten().nonzero().flatten()
    cu_seqlens = torch.cat([offsets, offsets.new_full((1,), numbers.numel())])
    count = starts.sum(1).cumsum(0)  # sequences in this row and those before it
    first = torch.cat([count.new_zeros(1), count[:-1]])
    return Packing(batch, cu_seqlens, first, count - 1, numbers < 0)
