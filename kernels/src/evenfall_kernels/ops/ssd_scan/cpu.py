"""ssd_scan on the CPU: chunks of steps as matrix products of PyTorch, the rest in Numba.

    B batch   L steps   H heads   P channels of a head   N states   G groups   S sequences
    K = B G groups of heads   J = H / G heads of a group   T steps of a chunk

A chunk adds, for all heads of a group in one product, C (state before it), and, for each head,
(C B^T * decays) x. All arithmetic is float32. The tensors of a chunk fit into the cache. None is
longer than a chunk, except the states that the backward pass starts from.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...common.sequences import sequence_ends
from ...cpu.compiled import require_compiler
from .cpu_backward import Targets, backward_chunk, skip_gradient
from .cpu_chunk import CHUNK, Chunk, Sizes, as_rows, split_steps
from .cpu_forward import run_chunk, write_output
from .outputs import empty_gradients, empty_outputs

require_compiler()

__all__ = ["CHUNK", "backward", "forward"]


class Sequence(NamedTuple):
    """Equally long rows of the batch, or a packed sequence, which is one row."""

    rows: slice  # of initial_state
    batch: slice  # of the signals
    chunks: list[tuple[int, int]]
    first: int  # the row of the saved states before the first chunk

    @property
    def size(self) -> int:
        return self.rows.stop - self.rows.start

    def saved(self, states: Tensor, chunk: int, sizes: Sizes) -> Tensor:
        """The saved state before a chunk, (K, N, J W)."""
        start = self.first + chunk * self.size
        rows = states[start : start + self.size]
        return rows.view(self.size * sizes.groups, sizes.states, sizes.per_group * sizes.width)


def _sequences(x: Tensor, cu_seqlens: Tensor | None) -> list[Sequence]:
    batch, length = x.shape[:2]
    if cu_seqlens is None:
        return [Sequence(slice(0, batch), slice(0, batch), [*split_steps(0, length)], 0)]
    sequences, first = [], 0
    for index, ends in enumerate(pairwise(sequence_ends(cu_seqlens, length))):
        chunks = [*split_steps(*ends)]
        sequences.append(Sequence(slice(index, index + 1), slice(0, 1), chunks, first))
        first += len(chunks)
    return sequences


class _Scratch:
    """The chunks of one call: one of each number of steps."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self._chunks: dict[tuple[int, int], Chunk] = {}

    def chunk(self, batch: int, steps: int) -> Chunk:
        key = batch, steps
        if key not in self._chunks:
            self._chunks[key] = Chunk(self.sizes, batch, steps)
        return self._chunks[key]


def forward(
    x: Tensor, dt: Tensor, log_decay: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor | None,
    initial_state: Tensor, cu_seqlens: Tensor | None, save: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Backend interface, see op.py: y (B, L, H, P), the last state (S, H, P, N), the states."""
    y, last, states = empty_outputs(x, initial_state, cu_seqlens, save, CHUNK)
    sequences = _sequences(x, cu_seqlens)
    if not x.numel():
        return y, last.copy_(initial_state), states
    sizes = Sizes.of(x, B)
    scratch, skip = _Scratch(sizes), _padded_skip(D, sizes)
    for sequence in sequences:
        state = sizes.group_states(initial_state[sequence.rows])
        for index, (start, end) in enumerate(sequence.chunks):
            part = (sequence.batch, slice(start, end))
            chunk = scratch.chunk(sequence.size, end - start)
            chunk.load(*(signal[part] for signal in (x, dt, log_decay, B, C)))
            if save:
                sequence.saved(states, index, sizes).copy_(state)
            run_chunk(chunk, state)
            write_output(chunk, skip, None if z is None else z[part], y, part)
            chunk.pass_decay(state).baddbmm_(chunk.B.transpose(1, 2), chunk.scaled)
        last[sequence.rows].copy_(sizes.head_states(state))
    return y, last, states


def _padded_skip(D: Tensor, sizes: Sizes) -> np.ndarray:
    """D (H, P) as rows of sixteen, with zeros as padding."""
    padded = F.pad(D.detach().float(), (0, sizes.width - sizes.channels))
    return as_rows(padded.contiguous())


def backward(
    grad_y: Tensor, grad_last: Tensor, states: Tensor,
    x: Tensor, dt: Tensor, log_decay: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor | None,
    initial_state: Tensor, cu_seqlens: Tensor | None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Backend interface, see op.py: gradients of x to initial_state, without elements for None."""
    results = empty_gradients(x, dt, log_decay, B, C, D, z, initial_state)
    d_x, d_dt, d_log_decay, d_B, d_C, d_D, d_z, d_initial = results
    sequences = _sequences(x, cu_seqlens)
    if not x.numel():
        d_D.zero_()
        d_initial.copy_(grad_last)
        return results
    sizes = Sizes.of(x, B)
    scratch, skip = _Scratch(sizes), _padded_skip(D, sizes)
    d_skip = torch.zeros(len(x) * sizes.heads, sizes.width)
    for sequence in sequences:
        d_state = sizes.group_states(grad_last[sequence.rows])
        for index, (start, end) in reversed([*enumerate(sequence.chunks)]):
            part = (sequence.batch, slice(start, end))
            chunk = scratch.chunk(sequence.size, end - start)
            chunk.load(*(signal[part] for signal in (x, dt, log_decay, B, C)))
            targets = Targets(
                d_x[part], d_dt[part], d_log_decay[part], d_B[part], d_C[part],
                None if z is None else d_z[part],
            )  # fmt: skip
            gate, state = None if z is None else z[part], sequence.saved(states, index, sizes)
            backward_chunk(
                chunk, grad_y[part], gate, state, d_state, skip, as_rows(d_skip), targets
            )
        d_initial[sequence.rows].copy_(sizes.head_states(d_state))
    d_D.copy_(skip_gradient(d_skip, sizes))
    return results
