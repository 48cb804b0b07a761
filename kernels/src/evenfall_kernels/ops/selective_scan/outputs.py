"""Empty outputs and gradients of selective_scan, for all backends."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK, CHUNK = 16, 32  # channels and steps


def count_blocks(channels: int, groups: int) -> int:
    """The number of blocks of sixteen channels; no block contains two groups."""
    return groups * -(-(channels // groups) // BLOCK)


def empty_outputs(
    u: Tensor, B: Tensor, initial_state: Tensor, save: bool, chunk: int = CHUNK
) -> tuple[Tensor, Tensor, Tensor]:
    """Empty y, last state and chunk states, the states before each chunk (no rows without `save`).

    The number of chunks is enough for chunks of `chunk` steps, or shorter chunks of at least the
    mean sequence length, plus one partial chunk per sequence.
    """
    sequences, channels, states = initial_state.shape
    chunks = u.shape[0] * u.shape[2] // chunk + 2 * sequences + 1 if save else 0
    padded_channels = count_blocks(channels, B.shape[1]) * BLOCK
    # Zeros, because rows between two sequences are unused and an operator must be deterministic.
    shape = (chunks, padded_channels, states)
    chunk_states = initial_state.new_zeros(shape, dtype=torch.float32)
    return torch.empty_like(u), torch.empty_like(initial_state), chunk_states


def empty_gradients(*inputs: Tensor | None) -> tuple[Tensor, ...]:
    """Uninitialised gradients of the inputs; a tensor without elements for None."""
    tensor = next(t for t in inputs if t is not None)
    return tuple(tensor.new_empty(0) if t is None else torch.empty_like(t) for t in inputs)
