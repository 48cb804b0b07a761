"""Tiles of a signal (B, D, L): rows of sixteen channels, one a step, whatever the memory holds.

A signal may have its time or its channels contiguous (the latter is what a linear layer over the
last axis leaves behind). Sixteen steps of sixteen channels are transposed in registers; channels
that lie side by side are rows already. Numbers are float32 or bfloat16 in memory, float32 in tiles.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numba import njit
from torch import Tensor

from ..common.sequences import sequence_ends
from .simd import WIDTH, load, store
from .simd_memory import load_at, load_one, prefetch, store_at, store_one, transpose_block

Array = np.ndarray


class Signal(NamedTuple):
    """The memory of a (B, D, L) tensor, bfloat16 as uint16; gaps in elements.

    Empty memory stands for None.
    """

    memory: Array
    batch_gap: int
    channel_gap: int
    time_gap: int


def stored_dtype(*tensors: Tensor | None) -> torch.dtype:
    """What signals of these tensors hold: bfloat16 where all do, else float32."""
    dtypes = {tensor.dtype for tensor in tensors if tensor is not None}
    return torch.bfloat16 if dtypes == {torch.bfloat16} else torch.float32


def signal(tensor: Tensor | None, dtype: torch.dtype = torch.float32) -> Signal:
    """View a CPU tensor (B, D, L) of the dtype float32 or bfloat16, or None."""
    if tensor is None or tensor.numel() == 0:
        return Signal(np.empty(0, np.uint16 if dtype == torch.bfloat16 else np.float32), 0, 0, 0)
    extent = 1 + sum((n - 1) * gap for n, gap in zip(tensor.shape, tensor.stride(), strict=True))
    flat = torch.as_strided(tensor.detach(), (extent,), (1,))
    if dtype == torch.bfloat16:
        flat = flat.view(torch.uint16)
    return Signal(flat.numpy(), *tensor.stride())


def channels_abreast(tensor: Tensor) -> bool:
    """Whether the channels of a (B, D, L) tensor lie side by side in memory."""
    return tensor.stride(1) == 1 and tensor.stride(2) != 1


def sequence_bounds(x: Tensor, cu_seqlens: Tensor | None) -> Array:
    """(S, 3): batch element, first step and last step + 1 of each sequence of x (B, D, L).

    Raises:
        ValueError: cu_seqlens does not fit; compiled code looks at its values here only.
    """
    if cu_seqlens is None:
        batch = np.arange(x.shape[0])
        return np.stack([batch, 0 * batch, 0 * batch + x.shape[2]], 1)
    ends = np.array(sequence_ends(cu_seqlens, x.shape[2]))
    return np.ascontiguousarray(np.stack([0 * ends[1:], ends[:-1], ends[1:]], 1))


@njit(error_model="numpy", nogil=True)
def at(signal: Any, batch: int, channel: int, time: int) -> int:
    """The place in a signal's memory."""
    return batch * signal.batch_gap + channel * signal.channel_gap + time * signal.time_gap


@njit(error_model="numpy", nogil=True)
def load_tile(source: Any, first: int, channels: int, steps: int, tile: Any) -> None:
    """tile[k, c] = source at `first` + c channel_gap + k time_gap; other channels become 0."""
    memory, channel_gap, time_gap = source.memory, source.channel_gap, source.time_gap
    done = 0
    if channels < WIDTH:
        tile[:steps] = np.float32(0)
    elif channel_gap == 1:
        while done < steps:
            store(tile, done, load_at(memory, first + done * time_gap))
            done += 1
    elif time_gap == 1:
        while done + WIDTH <= steps:
            transpose_block(memory, first + done, channel_gap, tile, done * WIDTH, WIDTH)
            done += WIDTH
    for k in range(done, steps):
        for c in range(channels):
            tile[k, c] = load_one(memory, first + c * channel_gap + k * time_gap)


@njit(error_model="numpy", nogil=True)
def store_tile(target: Any, first: int, channels: int, steps: int, tile: Any) -> None:
    """The reverse of load_tile."""
    memory, channel_gap, time_gap = target.memory, target.channel_gap, target.time_gap
    done = 0
    if channels == WIDTH and channel_gap == 1:
        while done < steps:
            store_at(memory, first + done * time_gap, load(tile, done))
            done += 1
    elif channels == WIDTH and time_gap == 1:
        while done + WIDTH <= steps:
            transpose_block(tile, done * WIDTH, WIDTH, memory, first + done, channel_gap)
            done += WIDTH
    for k in range(done, steps):
        for c in range(channels):
            store_one(memory, first + c * channel_gap + k * time_gap, tile[k, c])


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
