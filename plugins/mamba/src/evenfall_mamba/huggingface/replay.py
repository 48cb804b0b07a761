"""Lets gradient checkpointing compute a layer again in the backward pass as it ran forward.

The backward pass may run after the patch is reverted, in another thread, and outside the block of
`use_backend` and the call of the model. Other functions than in the forward pass would save other
tensors, and PyTorch would raise an error. So the second run is put back into the patch, the context
variables and the `seq_idx` of the first.
"""

from __future__ import annotations

import contextvars
import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

import evenfall
from evenfall.patches import PatchHandle, applied

from ..families import FAMILIES, MAMBA2_FAMILIES
from .packed import current_seq_idx, while_given

_MODULES = {family.module for family in (*FAMILIES, *MAMBA2_FAMILIES)}
_FUNCTION = "_gradient_checkpointing_func"


def replays_as_patched(call: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `GradientCheckpointingLayer.__call__`."""

    @functools.wraps(call)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not (self.gradient_checkpointing and self.training and torch.is_grad_enabled()):
            return call(self, *args, **kwargs)
        checkpoint = vars(self).get(_FUNCTION)
        ours = any(base.__module__ in _MODULES for base in type(self).__mro__)
        if checkpoint is None or not ours or torch.compiler.is_compiling():
            return call(self, *args, **kwargs)
        vars(self)[_FUNCTION] = _replaying(checkpoint)
        try:
            return call(self, *args, **kwargs)
        finally:
            vars(self)[_FUNCTION] = checkpoint

    return wrapper


def _replaying(checkpoint: Callable[..., Any]) -> Callable[..., Any]:
    context, seq_idx = contextvars.copy_context(), current_seq_idx()

    def run(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        def replay(*inputs: Any, **options: Any) -> Any:
            with while_patched(), while_given(seq_idx):
                return context.copy().run(function, *inputs, **options)

        return checkpoint(replay, *args, **kwargs)

    return run


_lock = threading.Lock()
_users = 0
_handle: PatchHandle | None = None


@contextmanager
def while_patched() -> Iterator[None]:
    """Apply the patch to transformers in this block, unless it is applied."""
    global _users, _handle
    with _lock:
        if _users == 0 and not _is_applied():
            _handle = evenfall.patch("mamba", targets=["transformers"]).apply()
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0 and _handle is not None:
                _handle.revert()
                _handle = None


def _is_applied() -> bool:
    return any(one.name == "mamba" and "transformers" in one.targets for one in applied())
