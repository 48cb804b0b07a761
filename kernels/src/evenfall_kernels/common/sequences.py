"""Packed sequences laid end to end along the last axis of a (1, D, L) signal."""

from __future__ import annotations

import torch
from torch import Tensor

from .dispatch import can_be_read

_INTEGERS = (torch.int32, torch.int64)


def check_cu_seqlens(cu_seqlens: Tensor, signal: Tensor, name: str) -> None:
    """Kind, shape and device, of a signal that the message calls `name`; and where they can be
    read, the values.

    Raises:
        TypeError: not a tensor of int32 or int64.
        ValueError: a batch of more than one, or a shape, device or value that does not fit.
    """
    if not isinstance(cu_seqlens, Tensor) or cu_seqlens.dtype not in _INTEGERS:
        got = cu_seqlens.dtype if isinstance(cu_seqlens, Tensor) else type(cu_seqlens).__name__
        raise TypeError(f"cu_seqlens must be an int32 or int64 Tensor, got {got}")
    if signal.shape[0] != 1:
        got = tuple(signal.shape)
        raise ValueError(f"cu_seqlens needs {name} of shape (1, channels, length), got {got}")
    if cu_seqlens.dim() != 1 or cu_seqlens.numel() < 1:
        raise ValueError(f"cu_seqlens must be 1-D, not empty, got {tuple(cu_seqlens.shape)}")
    if cu_seqlens.device.type not in ("cpu", signal.device.type):
        raise ValueError(f"cu_seqlens is on {cu_seqlens.device}, but {name} is on {signal.device}")
    if can_be_read(cu_seqlens):
        sequence_ends(cu_seqlens, signal.shape[2])


def sequence_ends(cu_seqlens: Tensor, length: int) -> list[int]:
    """The values, checked: a loop that trusted them could write outside of its arrays.

    Raises:
        ValueError: they do not start at 0, fall, or do not end at `length`.
    """
    ends: list[int] = cu_seqlens.tolist()
    falls = any(b < a for a, b in zip(ends, ends[1:], strict=False))
    if ends[0] != 0 or ends[-1] != length or falls:
        raise ValueError(
            f"cu_seqlens must start at 0, never fall and end at the length, {length}, got {ends}"
        )
    return ends
