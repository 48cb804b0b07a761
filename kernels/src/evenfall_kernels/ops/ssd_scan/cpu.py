"""ssd_scan on the CPU: chunks of steps as products of small matrices.

    B batch   L steps   H heads   P channels of a head   N states   G groups   S sequences
    K = B G groups of heads   J = H / G heads of a group   T steps of a chunk

Forward, threads take heads and run all their chunks, products included, in Numba (cpu_scan.py).
Backward, the products are PyTorch's: a chunk adds, for all heads of a group in one product, C
(state before it), and, for each head, (C B^T * decays) x. All arithmetic is float32. No tensor is
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
from ...cpu.threads import run_split
from ...cpu.tiles import sequence_bounds, stored_dtype
from .cpu_backward import Targets, backward_chunk, skip_gradient
from .cpu_chunk import CHUNK, Chunk, Sizes, as_rows, split_steps
from .cpu_passes import EARLIER
from .cpu_scan import Problem, Scratch, Signal, padded, scan_heads
from .outputs import empty_gradients, empty_outputs

require_compiler()

_WORK_PER_THREAD = 2_000_000  # in elements of (B, L, H, P, N), about 0.1 ms

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
    if not x.numel():
        return y, last.copy_(initial_state), states
    dtype = stored_dtype(x, B, C, z)
    out = y if y.dtype == dtype else torch.empty_like(y, dtype=dtype)
    sequences, (heads, channels) = _sequences(x, cu_seqlens), x.shape[2:]
    state = _pad(initial_state.transpose(2, 3), (padded(B.shape[3]), padded(channels)))
    firsts = [s.first for s in sequences] if cu_seqlens is not None else [*range(len(x))]
    problem = Problem(
        x=_signal(x, dtype), z=_signal(z, dtype), y=_signal(out, dtype), B=_signal(B, dtype),
        C=_signal(C, dtype), dt=_flat(dt), decay=_flat(log_decay),
        skip=_flat(_pad(D, (heads, padded(channels)))), state=_flat(state), saved=_flat(states),
        earlier=EARLIER, bounds=sequence_bounds(dt.transpose(1, 2), cu_seqlens),
        saved_first=np.array(firsts), saved_step=len(x), length=x.shape[1], heads=heads,
        groups=B.shape[2], channels=channels, states=B.shape[3],
    )  # fmt: skip

    def fill(first: int, stop: int) -> None:
        scratch = Scratch.of(padded(channels), padded(B.shape[3]))
        if cu_seqlens is not None:
            scan_heads(problem, scratch, 0, len(firsts), first, stop)
            return
        for row in range(first // heads, -(-stop // heads)):
            ends = max(first - row * heads, 0), min(stop - row * heads, heads)
            scan_heads(problem, scratch, row, row + 1, *ends)

    run_split(fill, len(x) * heads, x.numel() * B.shape[3], _WORK_PER_THREAD)
    if out is not y:
        y.copy_(out)
    last.copy_(state[:, :, : B.shape[3], :channels].transpose(2, 3))
    return y, last, states


def _pad(tensor: Tensor, sizes: tuple[int, int]) -> Tensor:
    """A float32 copy whose last two dimensions are padded with zeros to these sizes."""
    rows, columns = tensor.shape[-2:]
    target = torch.zeros(*tensor.shape[:-2], *sizes)
    target[..., :rows, :columns].copy_(tensor.detach())
    return target


def _flat(tensor: Tensor) -> np.ndarray:
    memory: np.ndarray = tensor.detach().float().contiguous().flatten().numpy()
    return memory


def _signal(tensor: Tensor | None, dtype: torch.dtype) -> Signal:
    """A view of a tensor (B, L, H or G, ...) of dtype float32 or bfloat16, if it can be one."""
    if tensor is None:
        return Signal(np.empty(0, np.uint16 if dtype == torch.bfloat16 else np.float32), 0, 0, 0)
    stored = tensor.detach().to(dtype)
    if stored.stride(3) != 1 and stored.shape[3] > 1:
        stored = stored.contiguous()
    extent = 1 + sum((n - 1) * s for n, s in zip(stored.shape, stored.stride(), strict=True))
    flat = torch.as_strided(stored, (extent,), (1,))
    memory = flat.view(torch.uint16) if dtype == torch.bfloat16 else flat
    return Signal(memory.numpy(), *stored.stride()[:3])


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
