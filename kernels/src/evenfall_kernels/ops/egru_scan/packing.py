"""Rows of many sequences in the order of time, as the loop over steps wants them.

Dimensions: B sequences, T steps, N rows in all. Step t owns the next ``batch_sizes[t]`` rows,
longest sequence first, as in torch.nn.utils.rnn.PackedSequence.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Padded:
    """A (B, T, ...) tensor of equally long sequences."""

    batch: int
    time: int

    @property
    def batch_sizes(self) -> list[int]:
        return [self.batch] * self.time

    def pack(self, x: Tensor) -> Tensor:
        """(B, T, F) -> (T B, F)."""
        return x.transpose(0, 1).reshape(self.batch * self.time, x.shape[-1])

    def unpack(self, rows: Tensor) -> Tensor:
        """(T B, F) -> (B, T, F)."""
        return rows.view(self.time, self.batch, rows.shape[-1]).transpose(0, 1)

    def sort(self, state: Tensor) -> Tensor:
        return state

    def unsort(self, state: Tensor) -> Tensor:
        return state

    def last(self, rows: Tensor, initial: Tensor) -> Tensor:
        """The row each sequence ends with, (B, F)."""
        return rows[-self.batch :] if self.time and self.batch else initial


class Packed:
    """Sequences of any length laid end to end in one row axis, cut at ``cu_seqlens`` (B + 1,)."""

    def __init__(self, cu_seqlens: Tensor) -> None:
        ends = cu_seqlens.cpu().long()
        lengths = ends.diff()
        self.order = lengths.argsort(descending=True, stable=True)
        self.inverse = self.order.argsort()
        starts, lengths = ends[:-1][self.order], lengths[self.order]
        longest = int(lengths[0]) if len(lengths) else 0
        active = lengths[None, :] > torch.arange(longest)[:, None]  # (T, B)
        self.batch_sizes: list[int] = active.sum(1).tolist()
        self.index = (starts[None, :] + torch.arange(longest)[:, None])[active]
        self.first = torch.tensor([0, *self.batch_sizes]).cumsum(0)[:-1]
        self.lengths = lengths

    def pack(self, x: Tensor) -> Tensor:
        """(1, N, F) -> (N, F) in the order of time."""
        return x.flatten(0, 1)[self.index.to(x.device)]

    def unpack(self, rows: Tensor) -> Tensor:
        """(N, F) in the order of time -> (1, N, F)."""
        back = self.index.argsort().to(rows.device)
        return rows[back][None]

    def sort(self, state: Tensor) -> Tensor:
        return state[self.order.to(state.device)]

    def unsort(self, state: Tensor) -> Tensor:
        return state[self.inverse.to(state.device)]

    def last(self, rows: Tensor, initial: Tensor) -> Tensor:
        """The row each sequence ends with, longest first, (B, F)."""
        filled = int((self.lengths > 0).sum())
        if filled == 0:
            return initial
        end = self.first[self.lengths[:filled] - 1] + torch.arange(filled)
        return torch.cat([rows[end.to(rows.device)], initial[filled:]])
