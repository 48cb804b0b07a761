"""A checksum of tensors, to notice that weights changed since something was derived from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import config

from .compiled import compiled
from .stored_dtypes import as_stored

_ODD = np.uint64(0x9E3779B97F4A7C15)


@compiled()
def _mix(words: Any) -> Any:
    """Each word has a factor of its own, so that exchanged words count, too."""
    total = np.uint64(0)
    for i in range(words.shape[0]):
        word = words[i]
        word ^= word >> np.uint64(29)  # or two changed signs, each 2^63, would add up to nothing
        total += word * (_ODD + np.uint64(2) * np.uint64(i))
    return total


def _mix_at_once(words: Any) -> Any:
    """The same without a compiler: whole arrays, which take more memory."""
    factors = _ODD + np.uint64(2) * np.arange(len(words), dtype=np.uint64)
    return ((words ^ (words >> np.uint64(29))) * factors).sum(dtype=np.uint64)


def checksum(*tensors: torch.Tensor) -> int:
    """A number that differs, except with a chance of 2^-64, if values, order, shape or dtype do.

    It reads CPU tensors about as fast as memory, and is not made to resist attacks.
    """
    parts: list[Any] = []
    for tensor in tensors:
        stored: Any = as_stored(tensor).reshape(-1).view(np.uint8)
        whole = len(stored) // 8 * 8
        parts += tuple(tensor.shape), tensor.dtype, stored[whole:].tobytes()
        mix = _mix_at_once if config.DISABLE_JIT else _mix
        parts.append(int(mix(stored[:whole].view(np.uint64))))
    return hash(tuple(parts))


__all__ = ["checksum"]
