"""The state of an EGRU layer as a transformers cache layer.

Dimensions: B batch, T tokens of a call, H units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin, StaticLayer

from .configuration_egru import short

State = tuple[torch.Tensor, torch.Tensor]


class EgruCacheLayer(CacheLayerMixin):
    """Outputs y (in `keys`) and states h (in `values`), each (B, H), float32.

    The fields have transformers' names, so that its offloading, reset and beam reordering work.
    `DynamicCache(config=...)` makes one per layer.

    A state has a fixed size and does not contain the tokens before it. After
    `activate_past_recording`, the layer also keeps the state after each token, until `crop`.
    """

    _layer_type = "egru"
    is_sliding = False
    supports_early_init = False  # transformers would allocate heads and a length
    keys: Any
    values: Any

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cumulative_length: Any = 0
        self.record_past = False
        self._past: State | None = None  # (B, n + 1, H): before and after each of n tokens

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.device = key_states.device
        self.is_initialized = True

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        *args: Any,
        steps: int = 1,
        past: State | None = None,
        **kwargs: Any,
    ) -> State:
        """Replace the state by the one after `steps` more tokens, and return it.

        Args:
            key_states, value_states: y and h after the last token, (B, H).
            steps: T.
            past: y and h after each token, (B, T, H); None for one token. Only read if recorded.
        """
        if self.record_past:
            after = (key_states[:, None], value_states[:, None]) if past is None else past
            self._record(after)
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self._store(key_states, value_states)
        self.cumulative_length += steps
        return key_states, value_states

    def state(self) -> State | None:
        """(y, h), or None before the first token."""
        if not self.is_initialized:
            return None
        self.prefetch()
        return self.keys, self.values

    def detach(self) -> None:
        """Stop the gradient here, for truncated backpropagation through time."""
        self._map(torch.Tensor.detach)

    def activate_past_recording(self) -> None:
        """Keep the state after each token from now on, so that `crop` can take tokens back."""
        self.record_past = True

    @property
    def is_croppable(self) -> bool:
        """Whether `crop` can take back the tokens that are read from now on."""
        return self.record_past

    def crop(self, tokens_to_remove: int) -> None:
        """Take back the last -tokens_to_remove tokens, and forget the states before them.

        Raises:
            ValueError: a positive number, or more tokens than were recorded.
        """
        if tokens_to_remove > 0:
            raise ValueError(
                "crop must get a negative number, of tokens to take back, got "
                f"{short(tokens_to_remove)}: a state does not contain the tokens before it"
            )
        recorded = 0 if self._past is None else self._past[0].shape[1] - 1
        if -tokens_to_remove > recorded:
            raise ValueError(
                f"crop can take back {recorded} tokens, got {short(tokens_to_remove)}: call "
                "activate_past_recording() before they are read, or continue from a "
                "copy.deepcopy of the cache"
            )
        if self._past is None:
            return
        y, h = (states[:, recorded + tokens_to_remove] for states in self._past)
        self._store(y, h)
        self._past = (y[:, None], h[:, None])
        self.cumulative_length += tokens_to_remove

    def reset(self) -> None:
        """Back to the state before the first token. Tensors are dropped, not overwritten: an
        output of the model may share their memory."""
        self.keys = self.values = self._past = None
        self.is_initialized = False
        self.cumulative_length = 0

    def get_seq_length(self) -> int:
        return self.cumulative_length

    def get_max_length(self) -> int:
        return -1

    def get_max_cache_shape(self) -> int:
        return -1

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.cumulative_length + query_length, 0

    @property
    def batch_size(self) -> int:
        if not self.is_initialized:
            raise AttributeError("an empty cache has no batch_size")
        return len(self.keys)

    def offload(self) -> None:
        """Move the state to the CPU; the next call of the model moves it back."""
        self._map(lambda t: t.to("cpu", non_blocking=True))

    def prefetch(self) -> None:
        """Move the state back to its device."""
        if self.is_initialized and self.keys.device != self.device:
            self._map(lambda t: t.to(self.device, non_blocking=True))

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        self._map(lambda t: t.index_select(0, beam_idx.to(t.device)))

    def batch_repeat_interleave(self, repeats: int) -> None:
        self._map(lambda t: t.repeat_interleave(repeats, dim=0))

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        self._map(lambda t: t[indices, ...])

    def _store(self, y: torch.Tensor, h: torch.Tensor) -> None:
        self.keys, self.values = y, h

    def _map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        if self.is_initialized:
            self.keys, self.values = function(self.keys), function(self.values)
        if self._past is not None:
            self._past = function(self._past[0]), function(self._past[1])

    def _record(self, after: State) -> None:
        before = self._past
        if before is None:
            state = self.state()
            if state is None:
                state = torch.zeros_like(after[0][:, 0]), torch.zeros_like(after[1][:, 0])
            before = state[0][:, None], state[1][:, None]
        self._past = torch.cat([before[0], after[0]], 1), torch.cat([before[1], after[1]], 1)


class EgruStaticCacheLayer(EgruCacheLayer, StaticLayer):
    """EgruCacheLayer whose tensors stay where they are in memory, for compiled graphs.

    `StaticCache(config=...)` makes one per layer. A state needs no maximum length: `max_cache_len`
    has no effect.
    """

    _layer_type = "egru"

    def __init__(self, max_cache_len: int = 0, **kwargs: Any) -> None:
        super().__init__(max_cache_len=max_cache_len)
        self.cumulative_length = torch.tensor(0)

    @property
    def is_compileable(self) -> bool:
        return not self.record_past

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        super().lazy_initialization(key_states, value_states)
        self.keys, self.values = torch.zeros_like(key_states), torch.zeros_like(value_states)
        self.cumulative_length = self.cumulative_length.to(self.device)
        if not torch.compiler.is_compiling():
            for tensor in (self.keys, self.values, self.cumulative_length):
                torch._dynamo.mark_static_address(tensor)

    def reset(self) -> None:
        """Back to the state before the first token, which is zero."""
        if self.is_initialized:
            self.keys.zero_()
            self.values.zero_()
        self._past = None
        self.cumulative_length.zero_()

    def _store(self, y: torch.Tensor, h: torch.Tensor) -> None:
        self.keys.copy_(y)
        self.values.copy_(h)


def cache_layers(
    cache: Cache | None, layer_types: list[str], rows: int
) -> list[EgruCacheLayer | None]:
    """The layers of a cache; None for each if there is no cache.

    Args:
        cache: the cache.
        layer_types: those of the model.
        rows: texts of the call.

    Raises:
        ValueError: the cache was not made for layers of these types, or has states of another
            number of texts.
    """
    if cache is None:
        return [None] * len(layer_types)
    layers = getattr(cache, "layers", None)
    if layers is None:
        raise ValueError(
            "past_key_values must be DynamicCache(config=model.config), got a "
            f"{type(cache).__name__}"
        )
    # Compare the type, not the class: the code of a published folder has a class of its own.
    if [getattr(layer, "_layer_type", None) for layer in layers] != layer_types:
        names = [type(layer).__name__ for layer in layers]
        raise ValueError(
            "past_key_values must be DynamicCache(config=model.config), with "
            f"{len(layer_types)} layers of type {layer_types[0]!r}, got layers {short(names)}"
        )
    first = layers[0]
    if first.is_initialized and first.keys.shape[0] != rows:
        raise ValueError(
            f"past_key_values has the states of {len(first.keys)} texts, but the call has {rows}; "
            "a cache belongs to the batch that it was made with"
        )
    return layers


__all__ = ["EgruCacheLayer", "EgruStaticCacheLayer", "cache_layers"]
