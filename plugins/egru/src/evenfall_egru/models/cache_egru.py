"""The state of an EGRU layer as a transformers cache layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin


class EgruCacheLayer(CacheLayerMixin):
    """Outputs y (in `keys`) and states h (in `values`), each (batch, units), float32.

    The fields have transformers' names, so that its offloading, reset and beam reordering work.
    `DynamicCache(config=...)` makes one per layer.
    """

    _layer_type = "egru"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        self.cumulative_length = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.device = key_states.device
        self.is_initialized = True

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        *args: Any,
        steps: int = 1,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Replace the state by the one after `steps` more tokens, and return it."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.keys, self.values = key_states, value_states
        self.cumulative_length += steps
        return key_states, value_states

    def state(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """(y, h), or None before the first token."""
        return (self.keys, self.values) if self.is_initialized else None

    def detach(self) -> None:
        """Stop the gradient here, for truncated backpropagation through time."""
        if self.is_initialized:
            self.keys, self.values = self.keys.detach(), self.values.detach()

    def get_seq_length(self) -> int:
        return self.cumulative_length

    def get_max_length(self) -> int:
        return -1

    def get_max_cache_shape(self) -> int:
        return -1

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.cumulative_length + query_length, 0

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        self._map(lambda t: t.index_select(0, beam_idx.to(t.device)))

    def batch_repeat_interleave(self, repeats: int) -> None:
        self._map(lambda t: t.repeat_interleave(repeats, dim=0))

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        self._map(lambda t: t[indices, ...])

    def _map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        if self.is_initialized:
            self.keys, self.values = function(self.keys), function(self.values)


def cache_layers(cache: Cache | None, layer_types: list[str]) -> list[EgruCacheLayer | None]:
    """The layers of a cache; None for each if there is no cache.

    Raises:
        ValueError: the cache was not made for layers of these types.
    """
    if cache is None:
        return [None] * len(layer_types)
    layers = cache.layers
    # Compare the type, not the class: the code of a published folder has a class of its own.
    if [getattr(layer, "_layer_type", None) for layer in layers] != layer_types:
        names = [type(layer).__name__ for layer in layers]
        raise ValueError(
            "past_key_values must be DynamicCache(config=model.config), with "
            f"{len(layer_types)} layers of type {layer_types[0]!r}, got layers {names}"
        )
    return layers


__all__ = ["EgruCacheLayer", "cache_layers"]
