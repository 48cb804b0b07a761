"""Shapes and dtypes of what selective_scan and its backward pass return, shared by all backends."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK, CHUNK = 16, 32  # channels and steps


def blocks_of(channels: int, groups: int) -> int:
    """Blocks of sixteen channels, none of which spans two groups."""
    return groups * -(-(channels // groups) // BLOCK)


def empty_outputs(
    u: Tensor, B: Tensor, initial_state: Tensor, save: bool, chunk: int = CHUNK
) -> tuple[Tensor, Tensor, Tensor]:
    """Room for y, the last state, and the states before each chunk (no rows without `save`).

    There are chunks of `chunk` steps, or as many shorter ones as there are sequences, and of each
    sequence one more that is not full.
    """
    sequences, channels, states = initial_state.shape
    chunks = u.shape[0] * u.shape[2] // chunk + 2 * sequences + 1 if save else 0
    width = blocks_of(channels, B.shape[1]) * BLOCK
    # Zeros, because rows between two sequences stay unused and operators must not return noise.
    kept = initial_state.new_zeros(chunks, width, states, dtype=torch.float32)
    return torch.empty_like(u), torch.empty_like(initial_state), kept


def empty_gradients(*inputs: Tensor | None) -> tuple[Tensor, ...]:
    """Room for the gradient of each input; an empty tensor for None."""
    present = next(t for t in inputs if t is not None)
    return tuple(present.new_empty(0) if t is None else torch.empty_like(t) for t in inputs)
