"""Tells the mixers which tokens of a packed row belong together.

Some models of transformers do not pass `seq_idx` to their mixers, and none passes on what position
ids say. The sequences of a packed row would then mix silently. The wrappers here record `seq_idx`
for the time of a model's call, and the convolution reads it.

B batch   L steps
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from .state import forget_scan


class _Given(threading.local):
    seq_idx: Tensor | None = None


_given = _Given()
_BOUNDS = ("cu_seqlens", "cu_seq_lens_q")
_CACHES = ("cache", "cache_params", "past_key_values")
PACKING = ("seq_idx", *_BOUNDS, "position_ids")
"""The arguments of a model that can mark sequences."""

_READ = (*PACKING, "attention_mask", *_CACHES)


def given_seq_idx(keywords: Mapping[str, Any], batch: int) -> Tensor | None:
    """The sequence of each token, (B, L), or None.

    It follows from the keyword `seq_idx` or the bounds `cu_seqlens` or `cu_seq_lens_q` of sequences
    packed into a single row; else it is that of the model around the call.
    """
    seq_idx = _from_keywords(keywords)
    seq_idx = _given.seq_idx if seq_idx is None else seq_idx
    if seq_idx is not None and len(seq_idx) == 1 < batch:  # position ids of one row count for all
        return seq_idx.expand(batch, -1)
    return seq_idx


def current_seq_idx() -> Tensor | None:
    """The `seq_idx` of the model that runs, for `while_given`."""
    return _given.seq_idx


@contextmanager
def while_given(seq_idx: Tensor | None) -> Iterator[None]:
    """Mixers that are called in this block find `seq_idx`."""
    before, _given.seq_idx = _given.seq_idx, seq_idx
    try:
        yield
    finally:
        _given.seq_idx = before
        forget_scan()


def keeps_seq_idx(call: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `forward` or `__call__` of a model: the mixers in it find the sequences of its input."""
    names = list(inspect.signature(call).parameters)[1:]
    places = [(name, names.index(name)) for name in _READ if name in names]

    @functools.wraps(call)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        keywords = kwargs | {name: args[place] for name, place in places if place < len(args)}
        seq_idx = _from_keywords(keywords)
        if seq_idx is None:
            seq_idx = _given.seq_idx
        if seq_idx is None:
            seq_idx = _from_positions(keywords)
        with while_given(seq_idx):
            return call(self, *args, **kwargs)

    return wrapper


def marks_sequences(keywords: Mapping[str, Any]) -> bool:
    """Whether the arguments of a model mark packed sequences; graphs cannot read position ids."""
    if _from_keywords(keywords) is not None:
        return True
    return not torch.compiler.is_compiling() and _from_positions(keywords) is not None


def _from_keywords(keywords: Mapping[str, Any]) -> Tensor | None:
    seq_idx: Tensor | None = keywords.get("seq_idx")
    if seq_idx is not None:
        return seq_idx
    for name in _BOUNDS:
        bounds: Tensor | None = keywords.get(name)
        if bounds is not None:
            numbers = torch.arange(bounds.numel() - 1, device=bounds.device)
            return numbers.repeat_interleave(bounds.diff())[None]
    return None


def _from_positions(keywords: Mapping[str, Any]) -> Tensor | None:
    """The rule of transformers' attention: without a mask and a cache, positions that do not
    increase by one begin a new sequence."""
    positions = keywords.get("position_ids")
    if any(keywords.get(name) is not None for name in ("attention_mask", *_CACHES)):
        return None
    if positions is None or positions.dim() != 2 or positions.shape[1] < 2:
        return None
    starts = torch.zeros_like(positions)
    starts[:, 1:] = positions.diff(dim=1) != 1
    if not torch.compiler.is_compiling() and not bool(starts.any()):
        return None
    return starts.cumsum(1)
