"""mamba_ssm's generation on a PyTorch that was built without CUDA.

Its `decode` makes two CUDA events before it looks whether timing is wanted, which such a PyTorch
refuses. It gets a `torch` whose events do nothing there.
"""

from __future__ import annotations

from typing import Any

import torch


class IdleEvent:
    """A CUDA event that was never recorded.

    Raises:
        RuntimeError: timing is wanted.
    """

    def __init__(self, enable_timing: bool = False) -> None:
        if enable_timing:
            raise RuntimeError("enable_timing=True needs a PyTorch with CUDA")


class Overlay:
    """A namespace with some names replaced."""

    def __init__(self, below: Any, **replaced: Any) -> None:
        vars(self).update(replaced, _below=below)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)


def with_events(original: Any) -> Any:
    """`torch` itself where it has CUDA events, else one whose events do nothing."""
    if torch.backends.cuda.is_built():
        return original
    return Overlay(original, cuda=Overlay(original.cuda, Event=IdleEvent))
