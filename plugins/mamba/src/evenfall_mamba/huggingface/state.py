"""Passes the recurrent state and `seq_idx` to the scan, which transformers does not do.

The mixers of transformers keep their recurrent state in the cache but do not pass it to the scan of
several tokens. Before each such scan they call `Cache.update_conv_state` and then the convolution,
which receives `seq_idx`. The patch records the state and `seq_idx` there, and the scan reads them.

B batch   D channels   L steps   N states
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class _ScanInputs(threading.local):
    """State and `seq_idx` for the next scans in this thread: one scan of D channels, or one a head.

    Attributes:
        channels: the channels of all these scans.
        offset: the first channel of the next scan.
    """

    state: Tensor | None = None
    seq_idx: Tensor | None = None
    channels = 0
    offset = 0


_next_scan = _ScanInputs()


def with_state_record(update_conv_state: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Wrap a cache's `update_conv_state`: it also records the layer's recurrent state."""

    @functools.wraps(update_conv_state)
    def wrapper(
        self: Any, conv_states: Tensor, layer_idx: int, state_idx: int = 0, **kwargs: Any
    ) -> Tensor:
        _next_scan.state = _stored_state(self, layer_idx, state_idx)
        return update_conv_state(self, conv_states, layer_idx, state_idx, **kwargs)

    return wrapper


def record_convolution(channels: int, seq_idx: Tensor | None) -> None:
    """Record a convolution of D = `channels`; seq_idx (B, L) is the sequence of each token."""
    _next_scan.channels, _next_scan.offset, _next_scan.seq_idx = channels, 0, seq_idx


def next_scan_inputs(channels: int, use_cache: bool) -> tuple[Tensor | None, Tensor | None]:
    """State (B, channels, N) and seq_idx for a scan of the next `channels` channels.

    Without a cache the state is None, even if a failed call left one behind.
    """
    state, seq_idx, start = _next_scan.state, _next_scan.seq_idx, _next_scan.offset
    _next_scan.offset = start + channels
    if _next_scan.offset >= _next_scan.channels:
        _next_scan.state = _next_scan.seq_idx = None
    if state is None or not use_cache:
        return None, seq_idx
    all_channels = state.flatten(1, 2) if state.dim() == 4 else state
    return _copy_for_autograd(all_channels[:, start : start + channels]), seq_idx


def recurrent_state(cache: Any, layer: int, slot: int = 0) -> Tensor | None:
    """The recurrent state in one slot of a cache's layer, None if no call has filled it."""
    state = None if cache is None else _stored_state(cache, layer, slot)
    return None if state is None else _copy_for_autograd(state)


def _stored_state(cache: Any, layer: int, slot: int) -> Tensor | None:
    if not cache.has_previous_state(layer, slot):
        return None
    state: Tensor = cache.layers[layer].recurrent_states[slot]
    return state


def _copy_for_autograd(state: Tensor) -> Tensor:
    """A copy if gradients are recorded, since later calls change the cache in place."""
    return state.clone() if torch.is_grad_enabled() else state
