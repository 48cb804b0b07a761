"""Empty outputs and gradients of ssd_scan, for all backends."""

from __future__ import annotations

import torch
from torch import Tensor


def count_chunks(batch: int, length: int, sequences: int | None, chunk: int) -> int:
    """Chunks in a batch, or at most this many in `sequences` packed ones; none spans two."""
    if sequences is None:
        return batch * -(-length // chunk)
    return length // chunk + sequences


def empty_outputs(
    x: Tensor, initial_state: Tensor, cu_seqlens: Tensor | None, save: bool, chunk: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Empty y, last state, and the states before each chunk (chunks, H P N; none without `save`).

    Each backend has its own layout of the last dimension, and pads P to a multiple of sixteen.
    """
    sequences, heads, channels, states = initial_state.shape
    chunks = 0
    if save:
        packed = None if cu_seqlens is None else sequences
        chunks = count_chunks(x.shape[0], x.shape[1], packed, chunk)
    shape = (chunks, heads * -(-channels // 16) * 16 * states)
    # Of packed sequences some rows can remain unused; an operator must be deterministic.
    make = initial_state.new_empty if cu_seqlens is None else initial_state.new_zeros
    y = torch.empty_like(x, memory_format=torch.contiguous_format)
    last = torch.empty_like(initial_state, memory_format=torch.contiguous_format)
    return y, last, make(shape, dtype=torch.float32)


def empty_gradients(*inputs: Tensor | None) -> tuple[Tensor, ...]:
    """Uninitialised gradients of the inputs; a tensor without elements for None."""
    tensor = next(t for t in inputs if t is not None)
    return tuple(
        tensor.new_empty(0)
        if t is None
        else torch.empty_like(t, memory_format=torch.contiguous_format)
        for t in inputs
    )
