"""Run a layer from the state in a cache, and put the new state there.

Dimensions: B batch, T time, H units of a layer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .cache_egru import EgruCacheLayer
from .padding_egru import Whole


def run_layer(
    layer: nn.Module,
    x: torch.Tensor,
    cached: EgruCacheLayer | None,
    update: bool,
    layout: Whole,
    sizes: tuple[int, int],
    want_events: bool | str,
) -> tuple[torch.Tensor, Any]:
    """The output of a layer, and its events or cells as `want_events` says.

    Args:
        layer: an EgruLayer or a layer with its interface.
        x: the input in the layout's order.
        cached: the layer's state, or None for an empty one.
        update: whether it gets the new state.
        layout: how texts and padding were laid out.
        sizes: B, and T or with packed texts the length of the longest.
        want_events: as in the layer.
    """
    before = None if cached is None else cached.state()
    if cached is None or not update:
        x, _, events = layer(x, before, layout.cu_seqlens, want_events)
        return x, events
    if not needs_states(cached, layout):
        x, state, events = layer(x, before, layout.cu_seqlens, want_events)
        cached.update(*state, steps=sizes[1])
        return x, events
    x, states, events = layer(x, before, layout.cu_seqlens, want_events, True)
    if before is None:
        before = tuple(part.new_zeros(sizes[0], part.shape[-1]) for part in states)
    past = tuple(layout.states(part, b) for part, b in zip(states, before, strict=True))
    last = past if sizes[1] else tuple(part[:, None] for part in before)
    cached.update(*(part[:, -1] for part in last), steps=sizes[1], past=past)
    return x, events


def needs_states(cached: EgruCacheLayer, layout: Whole) -> bool:
    """Whether the state after the last step is not enough to update the cache."""
    return cached.record_past or not layout.ends_with_text


def check_update(carry: str, cached: EgruCacheLayer | None, layout: Whole) -> None:
    """Raise ValueError if a state within the call is needed, but there is none."""
    if cached is None or not needs_states(cached, layout):
        return
    if carry == "output" and cached.record_past:
        raise ValueError(
            "carry='output' restarts h in each call, so tokens of a call cannot be taken back, as "
            "assisted decoding does; use carry='full'"
        )
    if carry == "output":
        raise ValueError(
            "carry='output' cannot update a cache in a graph with an attention_mask, which may end "
            "with padding; use carry='full', or no mask"
        )
    if layout.packs_texts:
        raise ValueError(
            "cu_seq_lens_q packs texts, whose tokens cannot be taken back: the cache must not "
            "record states (activate_past_recording)"
        )


__all__ = ["check_update", "run_layer"]
