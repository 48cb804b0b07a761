"""Hands `seq_idx` down to the mixers of models that drop it on the way.

`Mamba2ForCausalLM` does not pass its keywords to its model, and some versions of some blocks do not
pass theirs to the mixer. Where `seq_idx` is dropped, the sequences of a packed row mix silently.
The wrappers here record it for the time of a call. A block receives it as an argument, so the block
can be computed again by gradient checkpointing.

B batch   L steps
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class _Given(threading.local):
    seq_idx: Tensor | None = None


_given = _Given()
_BOUNDS = ("cu_seqlens", "cu_seq_lens_q")


def given_seq_idx(keywords: Mapping[str, Any], batch: int) -> Tensor | None:
    """The sequence of each token, (B, L), or None.

    It is the keyword `seq_idx`, else that of the block or model around the call, else it follows
    from the bounds `cu_seqlens` or `cu_seq_lens_q` of sequences packed into a single row.
    """
    seq_idx = keywords.get("seq_idx")
    if seq_idx is None:
        seq_idx = _given.seq_idx
    if seq_idx is not None or batch != 1:
        return seq_idx
    for name in _BOUNDS:
        bounds: Tensor | None = keywords.get(name)
        if bounds is not None:
            numbers = torch.arange(bounds.numel() - 1, device=bounds.device)
            return numbers.repeat_interleave(bounds.diff())[None]
    return None


@contextmanager
def _while_given(seq_idx: Tensor | None) -> Iterator[None]:
    before, _given.seq_idx = _given.seq_idx, seq_idx
    try:
        yield
    finally:
        _given.seq_idx = before


def keeps_seq_idx(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the forward of a block or outer model: what it calls finds its `seq_idx`."""

    @functools.wraps(forward)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _while_given(kwargs.get("seq_idx")):
            return forward(self, *args, **kwargs)

    return wrapper


def takes_seq_idx(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the forward of an inner model: it passes the recorded `seq_idx` to its blocks."""

    @functools.wraps(forward)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("seq_idx") is None and _given.seq_idx is not None:
            kwargs["seq_idx"] = _given.seq_idx
        return forward(self, *args, **kwargs)

    return wrapper
