"""Poisoned memory: uninitialised tensors full of NaN, to find kernels that read them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def poisoned_memory() -> Iterator[None]:
    """Fill each tensor of `torch.empty` and similar functions with NaN (integers: the maximum).

    The output then shows whether a kernel reads an element that it never wrote. torch fills such
    memory only in its deterministic mode; this turns the mode on, with warnings instead of errors,
    and restores it. Memory that NumPy or Numba allocate is not filled.
    """
    import torch

    settings: Any = torch.utils.deterministic
    fill = settings.fill_uninitialized_memory
    mode = torch.get_deterministic_debug_mode()
    torch.use_deterministic_algorithms(True, warn_only=True)
    settings.fill_uninitialized_memory = True
    try:
        yield
    finally:
        settings.fill_uninitialized_memory = fill
        torch.set_deterministic_debug_mode(mode)
