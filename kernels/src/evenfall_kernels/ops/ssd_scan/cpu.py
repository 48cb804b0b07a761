"""ssd_scan on the CPU: chunks of steps as products of small matrices.

    B batch   L steps   H heads   P channels of a head   N states   G groups   S sequences
    W channels, padded to a multiple of sixteen

Threads take heads and run all their chunks, products included, in Numba (cpu_forward.py and
cpu_backward.py). All arithmetic is float32. No tensor is longer than a chunk, except the states
that the backward pass starts from, and there the gradients of B and C: in float32, with one part
for each thread that shares a group.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from ...common.sequences import sequence_ends
from ...cpu.compiled import require_compiler
from ...cpu.threads import run_split
from ...cpu.tiles import sequence_bounds, stored_dtype
from .cpu_backward import Gradients, Scratch, backward_heads
from .cpu_chunk import CHUNK, Array, Chunk, Problem, Signal, padded
from .cpu_decays import EARLIER, LATER
from .cpu_forward import forward_heads
from .outputs import empty_gradients, empty_outputs

require_compiler()

_WORK_PER_THREAD = 2_000_000  # in elements of (B, L, H, P, N), about 0.1 ms

__all__ = ["CHUNK", "backward", "forward"]


def forward(
    x: Tensor, dt: Tensor, log_decay: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor | None,
    initial_state: Tensor, cu_seqlens: Tensor | None, save: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Backend interface, see op.py: y (B, L, H, P), the last state (S, H, P, N), the states."""
    y, last, states = empty_outputs(x, initial_state, cu_seqlens, save, CHUNK)
    if not x.numel():
        return y, last.copy_(initial_state), states
    dtype = stored_dtype(x, B, C, z)
    out = _target(y, dtype)
    state = _by_state(initial_state)
    problem = _problem(x, dt, log_decay, B, C, D, z, out, state, states, cu_seqlens, dtype)

    def fill(first: int, stop: int) -> None:
        chunk = Chunk.of(padded(problem.channels), padded(problem.states))
        for heads in _heads(problem, cu_seqlens, first, stop):
            forward_heads(problem, chunk, EARLIER, *heads)

    run_split(fill, len(x) * problem.heads, x.numel() * problem.states, _WORK_PER_THREAD)
    _copy(out, y)
    _copy_state(state, last)
    return y, last, states


def backward(
    grad_y: Tensor, grad_last: Tensor, states: Tensor,
    x: Tensor, dt: Tensor, log_decay: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor | None,
    initial_state: Tensor, cu_seqlens: Tensor | None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Backend interface, see op.py: gradients of x to initial_state, without elements for None."""
    results = empty_gradients(x, dt, log_decay, B, C, D, z, initial_state)
    d_x, d_dt, d_log_decay, d_B, d_C, d_D, d_z, d_initial = results
    if not x.numel():
        d_D.zero_()
        d_initial.copy_(grad_last)
        return results
    dtype = stored_dtype(x, B, C, z)
    out_x, out_z = _target(d_x, dtype), None if z is None else _target(d_z, dtype)
    d_state = _by_state(grad_last)
    problem = _problem(x, dt, log_decay, B, C, D, z, out_z, d_state, states, cu_seqlens, dtype)
    d_skip = torch.zeros(*x.shape[::2], padded(problem.channels))
    shared = Gradients(
        y=_signal(grad_y, dtype), x=_signal(out_x, dtype), dt=_flat(d_dt),
        decay=_flat(d_log_decay), skip=_flat(d_skip),
    )  # fmt: skip
    parts: dict[int, Tensor] = {}
    batch, length, groups, width = B.shape

    def fill(first: int, stop: int) -> None:
        per_group = problem.heads // groups
        first_group, last_group = first // per_group, (stop - 1) // per_group
        parts[first] = sums = torch.empty(2, last_group + 1 - first_group, length, width)
        sizes = padded(problem.channels), padded(problem.states)
        scratch = Scratch.of(*sizes, (_flat(sums[0]), _flat(sums[1])), first_group)
        chunk = Chunk.of(*sizes)
        for heads in _heads(problem, cu_seqlens, first, stop):
            backward_heads(problem, chunk, scratch, shared, EARLIER, LATER, *heads)

    run_split(fill, batch * problem.heads, x.numel() * width, _WORK_PER_THREAD)
    for target, total in zip((d_B, d_C), _sum_parts(parts, problem.heads // groups), strict=True):
        target.copy_(total.view(batch, groups, length, width).transpose(1, 2))
    _copy(out_x, d_x)
    _copy(out_z, d_z)
    d_D.copy_(d_skip.sum(0)[:, : problem.channels])
    _copy_state(d_state, d_initial)
    return results


def _problem(
    x: Tensor, dt: Tensor, log_decay: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor | None,
    out: Tensor | None, state: Tensor, states: Tensor, cu_seqlens: Tensor | None,
    dtype: torch.dtype,
) -> Problem:  # fmt: skip
    (batch, length, heads, channels), (groups, width) = x.shape, B.shape[2:]
    skip = _padded(D, (heads, padded(channels)))
    return Problem(
        x=_signal(x, dtype), z=_signal(z, dtype), y=_signal(out, dtype), B=_signal(B, dtype),
        C=_signal(C, dtype), dt=_flat(dt), decay=_flat(log_decay), skip=_flat(skip),
        state=_flat(state), saved=_flat(states),
        bounds=sequence_bounds(dt.transpose(1, 2), cu_seqlens),
        saved_first=_first_chunks(batch, length, cu_seqlens), saved_step=batch, length=length,
        heads=heads, groups=groups, channels=channels, states=width,
    )  # fmt: skip


def _first_chunks(batch: int, length: int, cu_seqlens: Tensor | None) -> Array:
    """The row of saved states before the first chunk of each sequence."""
    if cu_seqlens is None:
        return np.arange(batch)
    counts = [0] + [-(-(b - a) // CHUNK) for a, b in pairwise(sequence_ends(cu_seqlens, length))]
    return np.cumsum(counts)


def _heads(
    problem: Problem, cu_seqlens: Tensor | None, first: int, stop: int
) -> list[tuple[int, int, int, int]]:
    """The sequences and heads, each from and to, of rows first to stop - 1 of (B H)."""
    heads = problem.heads
    if cu_seqlens is not None:
        return [(0, len(problem.bounds), first, stop)]
    return [
        (row, row + 1, max(first - row * heads, 0), min(stop - row * heads, heads))
        for row in range(first // heads, -(-stop // heads))
    ]


def _sum_parts(parts: dict[int, Tensor], per_group: int) -> Tensor:
    """Parts (2, groups, L, N) by their first head, of which neighbours can share a group: the sum.

    The order does not depend on which thread was first.
    """
    whole, *others = (parts[first] for first in sorted(parts))
    if not others:
        return whole
    last = max(parts)
    total = whole.new_zeros(2, last // per_group + parts[last].shape[1], *whole.shape[2:])
    for first, part in sorted(parts.items()):
        total[:, first // per_group :][:, : part.shape[1]] += part
    return total


def _by_state(state: Tensor) -> Tensor:
    """(S, H, P, N) -> (S, H, N, P), padded, a copy."""
    channels, states = state.shape[2:]
    return _padded(state.transpose(2, 3), (padded(states), padded(channels)))


def _copy_state(state: Tensor, target: Tensor) -> None:
    """The reverse of _by_state."""
    channels, states = target.shape[2:]
    target.copy_(state[:, :, :states, :channels].transpose(2, 3))


def _padded(tensor: Tensor, sizes: tuple[int, int]) -> Tensor:
    """A float32 copy whose last two dimensions are padded with zeros to these sizes."""
    rows, columns = tensor.shape[-2:]
    target = torch.zeros(*tensor.shape[:-2], *sizes)
    target[..., :rows, :columns].copy_(tensor.detach())
    return target


def _target(result: Tensor, dtype: torch.dtype) -> Tensor:
    """The result itself, or memory of the dtype that the loops write."""
    return result if result.dtype == dtype else torch.empty_like(result, dtype=dtype)


def _copy(source: Tensor | None, target: Tensor) -> None:
    if source is not None and source is not target:
        target.copy_(source)


def _flat(tensor: Tensor) -> Array:
    memory: Array = tensor.detach().float().contiguous().flatten().numpy()
    return memory


def _signal(tensor: Tensor | None, dtype: torch.dtype) -> Signal:
    """A view of a tensor (B, L, H or G, ...) of dtype float32 or bfloat16, if it can be one."""
    if tensor is None:
        return Signal(np.empty(0, np.uint16 if dtype == torch.bfloat16 else np.float32), 0, 0, 0)
    stored = tensor.detach().to(dtype)
    if stored.stride(3) != 1 and stored.shape[3] > 1:
        once = stored
        for dim in range(3):  # the gradient of a sum is one number, expanded
            if stored.stride(dim) == 0:
                once = once.narrow(dim, 0, 1)
        stored = once.contiguous().expand_as(stored)
    extent = 1 + sum((n - 1) * s for n, s in zip(stored.shape, stored.stride(), strict=True))
    flat = torch.as_strided(stored, (extent,), (1,))
    memory = flat.view(torch.uint16) if dtype == torch.bfloat16 else flat
    return Signal(memory.numpy(), *stored.stride()[:3])
