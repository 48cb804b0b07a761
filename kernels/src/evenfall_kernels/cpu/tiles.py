"""Tiles of a signal (B, D, L): one row of sixteen channels per step, for any memory layout.

A signal is contiguous in time or in channels (channels-last, the output of a linear layer over the
last axis). Where time is contiguous, blocks of 16 channels and 16 steps are transposed in
registers. Channels-last memory already consists of rows. Memory is float32 or bfloat16, tiles are
float32.
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
    """The memory of a (B, D, L) tensor, bfloat16 as uint16; strides in elements.

    Empty memory means None.
    """

    memory: Array
    batch_stride: int
    channel_stride: int
    time_stride: int


def stored_dtype(*tensors: Tensor | None) -> torch.dtype:
    """The dtype of the signals of these tensors: bfloat16 if all have it, else float32."""
    dtypes = {tensor.dtype for tensor in tensors if tensor is not None}
    return torch.bfloat16 if dtypes == {torch.bfloat16} else torch.float32


def signal(tensor: Tensor | None, dtype: torch.dtype = torch.float32) -> Signal:
    """A view of a CPU tensor (B, D, L) of dtype float32 or bfloat16; or of None."""
    if tensor is None or tensor.numel() == 0:
        return Signal(np.empty(0, np.uint16 if dtype == torch.bfloat16 else np.float32), 0, 0, 0)
    extent = 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    flat = torch.as_strided(tensor.detach(), (extent,), (1,))
    if dtype == torch.bfloat16:
        flat = flat.view(torch.uint16)
    return Signal(flat.numpy(), *tensor.stride())


def is_channels_last(tensor: Tensor) -> bool:
    """Whether the channels of a (B, D, L) tensor are contiguous in memory."""
    return tensor.stride(1) == 1 and tensor.stride(2) != 1


def sequence_bounds(x: Tensor, cu_seqlens: Tensor | None) -> Array:
    """(S, 3): batch element, first step and last step + 1 of each sequence of x (B, D, L).

    Raises:
        ValueError: cu_seqlens has wrong values. In traced code this is the only check of them.
    """
    if cu_seqlens is None:
        batch = np.arange(x.shape[0])
        return np.stack([batch, 0 * batch, 0 * batch + x.shape[2]], 1)
    ends = np.array(sequence_ends(cu_seqlens, x.shape[2]))
    return np.ascontiguousarray(np.stack([0 * ends[1:], ends[:-1], ends[1:]], 1))


@njit(error_model="numpy", nogil=True)
def offset(signal: Any, batch: int, channel: int, time: int) -> int:
    """The index in a signal's memory."""
    row = batch * signal.batch_stride + channel * signal.channel_stride
    return row + time * signal.time_stride


@njit(error_model="numpy", nogil=True)
def load_tile(source: Any, first: int, channels: int, steps: int, tile: Any) -> None:
    """tile[k, c] = memory[first + c channel_stride + k time_stride]; 0 in other channels."""
    memory, channel_stride, time_stride = source.memory, source.channel_stride, source.time_stride
    k = 0
    if channels < WIDTH:
        tile[:steps] = np.float32(0)
    elif channel_stride == 1:
        while k < steps:
            store(tile, k, load_at(memory, first + k * time_stride))
            k += 1
    elif time_stride == 1:
        while k + WIDTH <= steps:
            transpose_block(memory, first + k, channel_stride, tile, k * WIDTH, WIDTH)
            k += WIDTH
    for j in range(k, steps):
        for c in range(channels):
            tile[j, c] = load_one(memory, first + c * channel_stride + j * time_stride)


@njit(error_model="numpy", nogil=True)
def store_tile(target: Any, first: int, channels: int, steps: int, tile: Any) -> None:
    """The reverse of load_tile."""
    memory, channel_stride, time_stride = target.memory, target.channel_stride, target.time_stride
    k = 0
    if channels == WIDTH and channel_stride == 1:
        while k < steps:
            store_at(memory, first + k * time_stride, load(tile, k))
            k += 1
    elif channels == WIDTH and time_stride == 1:
        while k + WIDTH <= steps:
            transpose_block(tile, k * WIDTH, WIDTH, memory, first + k, channel_stride)
            k += WIDTH
    for j in range(k, steps):
        for c in range(channels):
            store_one(memory, first + c * channel_stride + j * time_stride, tile[j, c])


@njit(error_model="numpy", nogil=True)
def prefetch_line(source: Any, first: int, k: int) -> None:
    """Prefetch cache line k, k < 32, of the tile at `first`.

    Sixteen rows of three signals are more streams than the processor prefetches by itself.
    """
    if source.time_stride == 1:
        row, line = k % WIDTH, k // WIDTH
        prefetch(source.memory, first + row * source.channel_stride + line * WIDTH)
    elif source.channel_stride == 1:
        prefetch(source.memory, first + k * source.time_stride)


@njit(error_model="numpy", nogil=True)
def copy_rows(source: Any, first: int, target: Any, target_first: int, rows: int) -> None:
    """target[target_first + i] = source[first + i] for i < rows, sixteen numbers each."""
    for i in range(rows):
        store(target, target_first + i, load(source, first + i))
