"""Check cu_seqlens, the bounds of sequences packed end to end in a (1, D, L) signal."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from .dispatch import can_be_read

_INTEGERS = (torch.int32, torch.int64)
_READERS = ("cpu", "reference")  # backends that call sequence_ends


def check_cu_seqlens(
    cu_seqlens: Tensor, signal: Tensor, name: str, shape: str = "(1, channels, length)"
) -> None:
    """Check dtype, shape and device; `check_sequence_ends` checks the values.

    `name` is the argument name of `signal` in messages, `shape` the shape it must have.

    Raises:
        TypeError: cu_seqlens is not an int32 or int64 tensor.
        ValueError: the batch is not 1, or the shape or device of cu_seqlens is wrong.
    """
    if not isinstance(cu_seqlens, Tensor) or cu_seqlens.dtype not in _INTEGERS:
        got = cu_seqlens.dtype if isinstance(cu_seqlens, Tensor) else type(cu_seqlens).__name__
        raise TypeError(f"cu_seqlens must be an int32 or int64 Tensor, got {got}")
    if signal.shape[0] != 1:
        got = tuple(signal.shape)
        raise ValueError(f"cu_seqlens needs {name} of shape {shape}, got {got}")
    if cu_seqlens.dim() != 1 or cu_seqlens.numel() < 1:
        raise ValueError(
            f"cu_seqlens must be 1-D and not empty, got shape {tuple(cu_seqlens.shape)}"
        )
    if cu_seqlens.device.type not in ("cpu", signal.device.type):
        raise ValueError(f"cu_seqlens is on {cu_seqlens.device}, but {name} is on {signal.device}")


def check_sequence_ends(cu_seqlens: Tensor | None, length: int, backend: str | None = None) -> None:
    """Check the values where reading them is free and the backend does not read them itself.

    Raises:
        ValueError: as sequence_ends.
    """
    if cu_seqlens is not None and backend not in _READERS and can_be_read(cu_seqlens):
        sequence_ends(cu_seqlens, length)


def sequence_ends(cu_seqlens: Tensor, length: int) -> list[int]:
    """The values of cu_seqlens, checked: with wrong ones a loop could write outside its arrays.

    Raises:
        ValueError: they do not start at 0, decrease, or do not end at `length`.
    """
    ends: list[int] = cu_seqlens.tolist()
    if ends[0] != 0 or ends[-1] != length or any(b < a for a, b in pairwise(ends)):
        got = ends if len(ends) <= 8 else f"{ends[:3]} ... {ends[-3:]}"
        raise ValueError(
            f"cu_seqlens must start at 0, not decrease, and end at the length {length}, got {got}"
        )
    return ends
