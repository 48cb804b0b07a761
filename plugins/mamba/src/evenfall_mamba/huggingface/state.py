"""Passes the recurrent state, `seq_idx` and padding to the scan, which transformers does not do.

The mixers of transformers keep their recurrent state in the cache but do not pass it to the scan of
several tokens. Each mixer first masks its input, then calls `Cache.update_conv_state` if it has a
cache, the convolution, which receives `seq_idx`, and the scan. The patch records the padding, the
state and `seq_idx` on the way, and convolution and scan read them.

B batch   D channels   L steps   N states   K inputs in a state
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .padding import close_gaps, last_inputs, real_tokens


class _ScanInputs(threading.local):
    """What the next scans in this thread need: one scan of D channels, or one a head.

    Attributes:
        state: the state of the layer.
        seq_idx: (B, L), the sequence of each token.
        real: (B, L) bool, false for padding.
        closed: whether the input of the convolution has its gaps closed.
        channels: the channels of all these scans.
        offset: the first channel of the next scan.
    """

    state: Tensor | None = None
    seq_idx: Tensor | None = None
    real: Tensor | None = None
    closed = False
    channels = 0
    offset = 0


_next_scan = _ScanInputs()


def with_padding_record(apply_mask: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Wrap `apply_mask_to_padding_states`: it also records which tokens are padding.

    A mask of a whole text counts for its last tokens, as in the models that cut it themselves.
    """

    @functools.wraps(apply_mask)
    def wrapper(hidden_states: Tensor, attention_mask: Tensor | None) -> Tensor:
        length = hidden_states.shape[1]
        _next_scan.real, _next_scan.closed = real_tokens(attention_mask, length), False
        mask = attention_mask
        if mask is not None and mask.dim() == 2 and mask.shape[1] > length:
            mask = mask[:, -length:]
        return apply_mask(hidden_states, mask)

    return wrapper


def with_state_record(update_conv_state: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Wrap a cache's `update_conv_state`: it also records the layer's recurrent state.

    With padding it stores the last inputs that are not padding.
    """

    @functools.wraps(update_conv_state)
    def wrapper(
        self: Any, conv_states: Tensor, layer_idx: int, state_idx: int = 0, **kwargs: Any
    ) -> Tensor:
        _next_scan.state = _stored_state(self, layer_idx, state_idx)
        real, layer = _next_scan.real, self.layers[layer_idx]
        fits = real is not None and real.shape == (len(conv_states), conv_states.shape[2])
        if real is None or not fits or getattr(layer, "record_past", False):
            return update_conv_state(self, conv_states, layer_idx, state_idx, **kwargs)
        _next_scan.closed = True
        signal = close_gaps(real, conv_states)
        inputs = update_conv_state(self, signal, layer_idx, state_idx, **kwargs)
        store_last_inputs(layer.conv_states[state_idx], inputs, real)
        return inputs

    return wrapper


def store_last_inputs(stored: Tensor, inputs: Tensor, real: Tensor) -> None:
    """Store the last inputs that are not padding, (B, D, K).

    `inputs` are what the cache returned for a signal (B, D, L) without gaps: at most K earlier
    inputs and the signal.
    """
    capacity = stored.shape[2]
    missing = capacity + real.shape[1] - inputs.shape[2]
    stored.copy_(last_inputs(real, F.pad(inputs, (missing, 0)), capacity))


def record_convolution(channels: int, seq_idx: Tensor | None) -> None:
    """Record a convolution of D = `channels`; seq_idx (B, L) is the sequence of each token."""
    _next_scan.channels, _next_scan.offset, _next_scan.seq_idx = channels, 0, seq_idx


def recorded_padding() -> tuple[Tensor | None, bool]:
    """`real` (B, L) of the mixer that runs, None without padding; and whether gaps are closed."""
    return _next_scan.real, _next_scan.closed


def next_scan_inputs(
    channels: int, use_cache: bool
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """State (B, channels, N), seq_idx and `real` (B, L) for a scan of the next `channels` channels.

    Without a cache the state is None, even if a failed call left one behind.
    """
    state, seq_idx, real, start = (
        _next_scan.state, _next_scan.seq_idx, _next_scan.real, _next_scan.offset
    )  # fmt: skip
    _next_scan.offset = start + channels
    if _next_scan.offset >= _next_scan.channels:
        forget_scan()
    if state is None or not use_cache:
        return None, seq_idx, real
    all_channels = state.flatten(1, 2) if state.dim() == 4 else state
    return _copy_for_autograd(all_channels[:, start : start + channels]), seq_idx, real


def forget_scan() -> None:
    """Forget what is recorded, at the end of a mixer and of a model."""
    _next_scan.state = _next_scan.seq_idx = _next_scan.real = None
    _next_scan.closed = False


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
