"""Sort the rows of many sequences by time, for the loop over steps.

Dimensions: B sequences, T steps, N rows in total. Step t has the next ``batch_sizes[t]`` rows,
longest sequence first, as in torch.nn.utils.rnn.PackedSequence.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Padded:
    """Sequences of equal length, a (B, T, ...) tensor."""

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
        """The last row of each sequence, (B, F)."""
        return rows[-self.batch :] if self.time and self.batch else initial


class Packed:
    """Sequences of any length, packed end to end; ``cu_seqlens`` (B + 1,) are their bounds."""

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
        """(1, N, F) -> (N, F), sorted by time."""
        return x.flatten(0, 1)[self.index.to(x.device)]

    def unpack(self, rows: Tensor) -> Tensor:
        """(N, F), sorted by time -> (1, N, F)."""
        inverse = self.index.argsort().to(rows.device)
        return rows[inverse][None]

    def sort(self, state: Tensor) -> Tensor:
        return state[self.order.to(state.device)]

    def unsort(self, state: Tensor) -> Tensor:
        return state[self.inverse.to(state.device)]

    def last(self, rows: Tensor, initial: Tensor) -> Tensor:
        """The last row of each sequence, longest sequence first, (B, F)."""
        nonempty = int((self.lengths > 0).sum())
        if nonempty == 0:
            return initial
        end = self.first[self.lengths[:nonempty] - 1] + torch.arange(nonempty)
        return torch.cat([rows[end.to(rows.device)], initial[nonempty:]])


class InOrder:
    """Sequences in their given order, (B, T, ...), or packed end to end with bounds ``cu_seqlens``.

    For graphs of torch.compile and torch.export: no value is read and no number of steps becomes a
    constant. Their operator sorts the rows when it runs.
    """

    def __init__(self, x: Tensor, cu_seqlens: Tensor | None) -> None:
        self.batch, self.time = x.shape[:2]
        self.cu_seqlens = cu_seqlens

    def pack(self, x: Tensor) -> Tensor:
        """(B, T, F) -> (B T, F)."""
        return x.flatten(0, 1)

    def unpack(self, rows: Tensor) -> Tensor:
        """(B T, F) -> (B, T, F)."""
        return rows.view(self.batch, self.time, rows.shape[-1])

    def sort(self, state: Tensor) -> Tensor:
        return state

    def unsort(self, state: Tensor) -> Tensor:
        return state

    def last(self, rows: Tensor, initial: Tensor) -> Tensor:
        """The last row of each sequence, (B, F)."""
        if not self.time:
            return initial
        if self.cu_seqlens is None:
            return self.unpack(rows)[:, -1]
        ends = self.cu_seqlens.to(rows.device).long()
        nonempty = ends.diff() > 0
        return torch.where(nonempty[:, None], rows[(ends[1:] - 1).clamp_min(0)], initial)
