"""Packed batches as the kernels want them: one row, and where each sequence ends.

transformers says which sequence a token belongs to, `seq_idx` (B, L); the kernels take one row of
sequences side by side. Rows are laid end to end, so a batch of several packed rows is served too.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Packing:
    """Sequences of all rows laid end to end.

    Attributes:
        batch: rows.
        cu_seqlens: (S + 1,) int64, where they end.
        first: (B,) the first sequence of each row, which continues what came before.
        last: (B,) the last one, which the next call continues.
        padding: (B, L) bool, steps with a negative number, which belong to no sequence.
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
        """A signal (B, D, L), zero at padding, as `causal_conv1d` returns it."""
        return signal.masked_fill(self.padding[:, None], 0)

    def spread(self, state: Tensor | None) -> Tensor | None:
        """A state of each row (B, ...) as one of each sequence (S, ...), zero for later ones."""
        if state is None:
            return None
        sequences = self.cu_seqlens.numel() - 1
        return state.new_zeros(sequences, *state.shape[1:]).index_copy(0, self.first, state)


def packing(seq_idx: Tensor, length: int) -> Packing:
    """Read `seq_idx` (B, L'); `length` >= L' counts cached inputs before it, of the first sequence.

    Raises:
        ValueError: seq_idx is not (B, at most length).
    """
    if seq_idx.dim() != 2 or not 0 < seq_idx.shape[1] <= length:
        raise ValueError(
            f"seq_idx must have shape (batch, length up to {length}), got {tuple(seq_idx.shape)}"
        )
    batch = seq_idx.shape[0]
    before = seq_idx[:, :1].expand(-1, length - seq_idx.shape[1])
    numbers = torch.cat([before, seq_idx], dim=1)
    starts = torch.ones_like(numbers, dtype=torch.bool)
    starts[:, 1:] = numbers[:, 1:] != numbers[:, :-1]
    ends = starts.flatten().nonzero().flatten()
    cu_seqlens = torch.cat([ends, ends.new_full((1,), numbers.numel())])
    count = starts.sum(1).cumsum(0)  # sequences up to and with each row
    first = torch.cat([count.new_zeros(1), count[:-1]])
    return Packing(batch, cu_seqlens, first, count - 1, numbers < 0)
