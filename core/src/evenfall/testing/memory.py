"""Memory that tells on its readers: uninitialised tensors full of NaN."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def poisoned_memory() -> Iterator[None]:
    """Fill every tensor of `torch.empty` and its kin with NaN (integers with their maximum).

    A kernel that reads an element it never wrote then shows it in its output. torch fills such
    memory only in its deterministic mode, which this turns on, warning only, and restores.
    Memory that numpy or Numba allocate is out of reach.
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
