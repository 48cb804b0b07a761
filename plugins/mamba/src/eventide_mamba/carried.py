"""What a mixer knows and does not tell its scan: the state so far, and where sequences end.

transformers' mixers look their recurrent state up in the cache, but hand it to the scan of several
tokens in no way. The replaced forward puts it here; the replaced scan takes it from here.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class _Call(threading.local):
    """The mixer call that this thread is in."""

    states: tuple[Tensor, ...] = ()
    seq_idx: Tensor | None = None
    scans = 0


_call = _Call()


def take_state() -> Tensor | None:
    """The state (B, D, N) that the next scan of this mixer call starts from; None for zero."""
    head = _call.scans
    _call.scans = head + 1
    return _call.states[head] if head < len(_call.states) else None


def current_seq_idx() -> Tensor | None:
    """Which packed sequence each token belongs to, (B, L), where the model was told."""
    return _call.seq_idx


def with_state(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A mixer's forward whose scans start from the state in the cache, and know of packing."""

    @functools.wraps(forward)
    def carrying(
        self: Any,
        hidden_states: Tensor,
        cache_params: Any = None,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        states = _states(self.layer_idx, cache_params) if hidden_states.shape[1] > 1 else ()
        with _inside(states, kwargs.get("seq_idx")):
            return forward(
                self,
                hidden_states,
                cache_params=cache_params,
                attention_mask=attention_mask,
                **kwargs,
            )

    return carrying


@contextmanager
def _inside(states: tuple[Tensor, ...], seq_idx: Tensor | None) -> Iterator[None]:
    outer = _call.states, _call.seq_idx, _call.scans
    _call.states, _call.seq_idx, _call.scans = states, seq_idx, 0
    try:
        yield
    finally:
        _call.states, _call.seq_idx, _call.scans = outer


def _states(layer: int, cache: Any) -> tuple[Tensor, ...]:
    """One state (B, D, N) a head, copied where autograd keeps it: the cache is changed in place."""
    state = None if cache is None else cache.get_recurrent_state(layer, state_idx=0)
    if state is None:
        return ()
    state = state.clone() if torch.is_grad_enabled() else state
    return state.unbind(1) if state.dim() == 4 else (state,)
