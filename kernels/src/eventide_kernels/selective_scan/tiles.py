"""Tiles of the signals u, delta, z, y: (steps, 16 channels), whatever the layout in memory.

A signal (B, D, L) may have its time or its channels contiguous (the latter is what a linear layer
over the last axis leaves behind). Sixteen steps of sixteen channels are transposed in registers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numba import njit
from torch import Tensor

from ..lanes import WIDTH, load, prefetch, store, transpose_block

Array = np.ndarray


class Signal(NamedTuple):
    """The memory of a (B, D, L) float32 tensor; gaps in elements. Empty memory stands for None."""

    memory: Array
    batch_gap: int
    channel_gap: int
    time_gap: int


_ABSENT = Signal(np.empty(0, np.float32), 0, 0, 0)


def signal(tensor: Tensor | None) -> Signal:
    """View a float32 CPU tensor (B, D, L), or None."""
    if tensor is None or tensor.numel() == 0:
        return _ABSENT
    extent = 1 + sum((n - 1) * gap for n, gap in zip(tensor.shape, tensor.stride(), strict=True))
    flat = torch.as_strided(tensor.detach(), (extent,), (1,))
    return Signal(flat.numpy(), *tensor.stride())


@njit(error_model="numpy", nogil=True)
def load_tile(source: Any, first: int, channels: int, steps: int, tile: Any) -> None:
    """tile[k, c] = source at `first` + c channel_gap + k time_gap; other channels become 0."""
    memory, channel_gap, time_gap = source.memory, source.channel_gap, source.time_gap
    done = 0
    if channels == WIDTH and time_gap == 1:
        while done + WIDTH <= steps:
            transpose_block(memory, first + done, channel_gap, tile, done * WIDTH, WIDTH)
            done += WIDTH
    elif channels < WIDTH:
        tile[:steps] = np.float32(0)
    for k in range(done, steps):
        for c in range(channels):
            tile[k, c] = memory[first + c * channel_gap + k * time_gap]


@njit(error_model="numpy", nogil=True)
def store_tile(target: Any, first: int, channels: int, steps: int, tile: Any) -> None:
    """The reverse of load_tile."""
    memory, channel_gap, time_gap = target.memory, target.channel_gap, target.time_gap
    done = 0
    if channels == WIDTH and time_gap == 1:
        while done + WIDTH <= steps:
            transpose_block(tile, done * WIDTH, WIDTH, memory, first + done, channel_gap)
            done += WIDTH
    for k in range(done, steps):
        for c in range(channels):
            memory[first + c * channel_gap + k * time_gap] = tile[k, c]


@njit(error_model="numpy", nogil=True)
def announce(source: Any, first: int, k: int) -> None:
    """Fetch the k-th cache line, k < 32, of the tile at `first`, whose rows lie apart in memory.

    Sixteen rows are more streams than the processor foresees by itself.
    """
    if source.time_gap == 1:
        row, line = k % WIDTH, k // WIDTH
        prefetch(source.memory, first + row * source.channel_gap + line * WIDTH)


@njit(error_model="numpy", nogil=True)
def copy_rows(source: Any, first: int, target: Any, at: int, rows: int) -> None:
    """target[at + i] = source[first + i] for i < rows, sixteen numbers each."""
    for i in range(rows):
        store(target, at + i, load(source, first + i))
