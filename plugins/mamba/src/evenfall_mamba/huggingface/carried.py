"""What the host knows and does not tell its scan: the state so far, and where sequences end.

transformers' mixers keep their recurrent state in the cache, but hand it to the scan of several
tokens in no way. Before that scan each of them passes two places: the cache, which it gives the
inputs of the convolution, and the convolution, which is told of packing. What is seen there is
noted here, and the scan takes it from here.

B batch   D channels   L steps   N states
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class _Noted(threading.local):
    """What the next scans in this thread, one for all D channels or one a head, will ask for."""

    state: Tensor | None = None
    seq_idx: Tensor | None = None
    channels = 0
    scanned = 0


_noted = _Noted()


def noting_state(update_conv_state: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A cache's `update_conv_state` that notes the state to which its layer has come."""

    @functools.wraps(update_conv_state)
    def noting(
        self: Any, conv_states: Tensor, layer_idx: int, state_idx: int = 0, **kwargs: Any
    ) -> Tensor:
        _noted.state = _recurrent_state(self, layer_idx, state_idx)
        return update_conv_state(self, conv_states, layer_idx, state_idx, **kwargs)

    return noting


def note_convolution(channels: int, seq_idx: Tensor | None) -> None:
    """Scans of as many channels come next; seq_idx (B, L) says which sequence each token is of."""
    _noted.channels, _noted.scanned, _noted.seq_idx = channels, 0, seq_idx


def take_noted(channels: int, cached: bool) -> tuple[Tensor | None, Tensor | None]:
    """The state (B, channels, N) and the seq_idx of a scan of the next `channels` channels.

    Without a cache there is no state, whatever a call that failed has left here.
    """
    state, seq_idx, start = _noted.state, _noted.seq_idx, _noted.scanned
    _noted.scanned = start + channels
    if _noted.scanned >= _noted.channels:
        _noted.state = _noted.seq_idx = None
    if state is None or not cached:
        return None, seq_idx
    heads = state.flatten(1, 2) if state.dim() == 4 else state
    return _own(heads[:, start : start + channels]), seq_idx


def state_so_far(cache: Any, layer: int, slot: int = 0) -> Tensor | None:
    """What a cache holds in a layer's slot of recurrent states; None where no call filled it."""
    state = None if cache is None else _recurrent_state(cache, layer, slot)
    return None if state is None else _own(state)


def _recurrent_state(cache: Any, layer: int, slot: int) -> Tensor | None:
    if not cache.has_previous_state(layer, slot):
        return None
    state: Tensor = cache.layers[layer].recurrent_states[slot]
    return state


def _own(state: Tensor) -> Tensor:
    """A copy where autograd would keep it: the cache is changed in place."""
    return state.clone() if torch.is_grad_enabled() else state
