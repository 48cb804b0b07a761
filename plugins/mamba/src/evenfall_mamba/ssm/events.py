"""Lets mamba_ssm generate on a PyTorch that was built without CUDA.

Its `decode` always creates two CUDA events, which such a PyTorch refuses, and uses them only for
timing. The patch gives it a `torch` whose events do nothing.
"""

from __future__ import annotations

from typing import Any

import torch


class IdleEvent:
    """A CUDA event that does nothing.

    Raises:
        RuntimeError: enable_timing is True.
    """

    def __init__(self, enable_timing: bool = False) -> None:
        if enable_timing:
            raise RuntimeError("enable_timing must be False on a PyTorch without CUDA, got True")


class Overlay:
    """A namespace in which some names have other values."""

    def __init__(self, original: Any, **replacements: Any) -> None:
        vars(self).update(replacements, _original=original)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


def torch_with_events(original: Any) -> Any:
    """`torch` itself if it has CUDA events, else an `Overlay` whose events do nothing."""
    if torch.backends.cuda.is_built():
        return original
    return Overlay(original, cuda=Overlay(original.cuda, Event=IdleEvent))
