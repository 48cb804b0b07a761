"""A chunk of ssd_scan: its tensors, laid out for matrix products and for loops over lanes.

R = B H rows of heads   K = B G groups of heads   J = H / G heads of a group
T steps, a multiple of sixteen   W channels of a head, padded to a multiple of sixteen
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...cpu.simd import WIDTH
from ...cpu.threads import run_split

CHUNK = 64
_WORK_PER_THREAD = 200_000  # in elements of these loops, about 0.1 ms


class Sizes(NamedTuple):
    """The sizes that all chunks share."""

    heads: int
    groups: int
    channels: int
    width: int  # W
    states: int

    @staticmethod
    def of(x: Tensor, B: Tensor) -> Sizes:
        """The sizes of a call, from x (B, L, H, P) and B (B, L, G, N)."""
        heads, channels = x.shape[2:]
        width = -(-channels // WIDTH) * WIDTH
        return Sizes(heads, B.shape[2], channels, width, B.shape[3])

    @property
    def per_group(self) -> int:
        return self.heads // self.groups

    def group_states(self, state: Tensor) -> Tensor:
        """(B, H, P, N) -> (K, N, J W), a copy."""
        padded = F.pad(state.detach(), (0, 0, 0, self.width - self.channels))
        by_state = padded.view(-1, self.per_group * self.width, self.states).transpose(1, 2)
        return by_state.contiguous()

    def head_states(self, state: Tensor) -> Tensor:
        """The reverse of group_states."""
        heads = state.transpose(1, 2).reshape(-1, self.heads, self.width, self.states)
        return heads[:, :, : self.channels]


class Chunk:
    """Scratch for `steps` steps of `batch` rows; padding is zero.

    Attributes:
        x: (R, T, W); also `z` and `grad` if they are loaded.
        B: (K, T, N); C likewise.
        dt: (R, T); `decay` is its logarithm to base e.
        high, low: (R, T), the base-2 logarithm of the decay from the chunk's start up to and
            including a step, as a sum of two float32: their differences are exact.
        after: (R, T), the decay from a step, excluded, to the chunk's end.
        before: (R, T), the decay from the chunk's start to a step, included.
        total: (R,), the decay of the whole chunk.
    """

    def __init__(self, sizes: Sizes, batch: int, steps: int) -> None:
        self.sizes, self.batch, self.steps = sizes, batch, steps
        self.padded = -(-steps // WIDTH) * WIDTH
        self.rows, self.groups = batch * sizes.heads, batch * sizes.groups
        make = torch.zeros if self.padded > steps else torch.empty
        head, group = (self.rows, self.padded, sizes.width), (self.groups, self.padded)
        if sizes.width > sizes.channels:
            make = torch.zeros
        self._signals: dict[str, Tensor] = {}
        self.x = make(head)
        self.B, self.C = make(*group, sizes.states), make(*group, sizes.states)
        self.dt, self.decay = make(self.rows, self.padded), make(self.rows, self.padded)
        self.high, self.low, self.after, self.before = torch.empty(4, self.rows, self.padded)
        self.total = torch.empty(self.rows)
        self.matrix = torch.empty(self.rows, self.padded, self.padded)
        self.product = torch.empty(self.groups, self.padded, self.padded)
        self.by_head = torch.empty(head)
        self.scaled = torch.empty(*group, sizes.per_group * sizes.width)
        self.by_group = torch.empty_like(self.scaled)
        self._make, self._head = make, head

    def signal(self, name: str) -> Tensor:
        """A tensor like x, made on first use."""
        if name not in self._signals:
            self._signals[name] = self._make(self._head)
        return self._signals[name]

    def group_signal(self, name: str) -> Tensor:
        """A tensor like `scaled`, made on first use."""
        if name not in self._signals:
            self._signals[name] = torch.empty_like(self.scaled)
        return self._signals[name]

    def load_heads(self, target: Tensor, source: Tensor) -> Tensor:
        """Copy source (B, T', H, P) to target (R, T, W)."""
        sizes = self.sizes
        view = target.view(self.batch, sizes.heads, self.padded, sizes.width)
        view[:, :, : self.steps, : sizes.channels].copy_(source.transpose(1, 2))
        return target

    def store_heads(self, source: Tensor, target: Tensor) -> None:
        """The reverse of load_heads."""
        sizes = self.sizes
        view = source.view(self.batch, sizes.heads, self.padded, sizes.width)
        target.copy_(view[:, :, : self.steps, : sizes.channels].transpose(1, 2))

    def load_steps(self, target: Tensor, source: Tensor) -> None:
        """Copy source (B, T', H) to target (R, T)."""
        view = target.view(self.batch, self.sizes.heads, self.padded)
        view[:, :, : self.steps].copy_(source.transpose(1, 2))

    def store_steps(self, source: Tensor, target: Tensor) -> None:
        """The reverse of load_steps."""
        view = source.view(self.batch, self.sizes.heads, self.padded)
        target.copy_(view[:, :, : self.steps].transpose(1, 2))

    def load_groups(self, target: Tensor, source: Tensor) -> None:
        """Copy source (B, T', G, N) to target (K, T, N)."""
        view = target.view(self.batch, self.sizes.groups, self.padded, self.sizes.states)
        view[:, :, : self.steps].copy_(source.transpose(1, 2))

    def store_groups(self, source: Tensor, target: Tensor) -> None:
        """The reverse of load_groups."""
        view = source.view(self.batch, self.sizes.groups, self.padded, self.sizes.states)
        target.copy_(view[:, :, : self.steps].transpose(1, 2))

    def load(self, x: Tensor, dt: Tensor, log_decay: Tensor, B: Tensor, C: Tensor) -> None:
        """Copy the chunk's steps of each signal."""
        self.load_heads(self.x, x)
        self.load_steps(self.dt, dt)
        self.load_steps(self.decay, log_decay)
        self.load_groups(self.B, B)
        self.load_groups(self.C, C)

    def for_heads(self, fill: Callable[[int, int], None], elements: int) -> None:
        """Call fill(first, stop) for rows of heads on threads; `elements` is the work of a row."""
        run_split(fill, self.rows, self.rows * elements, _WORK_PER_THREAD)


def split_steps(start: int, end: int) -> Iterator[tuple[int, int]]:
    """The first and last step + 1 of each chunk of a sequence."""
    for first in range(start, end, CHUNK):
        yield first, min(first + CHUNK, end)


def as_rows(tensor: Tensor) -> np.ndarray:
    """A contiguous float32 tensor as rows of sixteen numbers, for lanes."""
    rows: np.ndarray = tensor.detach().view(-1, WIDTH).numpy()
    return rows
