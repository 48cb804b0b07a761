"""Helpers with which the targets declare their changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from evenfall.patches import Change

from ..families import Family, Mamba2Family
from ..huggingface.adapted import calls_adapted_layers
from ..huggingface.packed import keeps_seq_idx
from ..huggingface.state import with_padding_record


def always(replacement: Callable[..., Any]) -> Callable[[Any], Any]:
    """The `make` of a change whose replacement does not use the original."""
    return lambda original: replacement


def around_mixers(family: Family | Mamba2Family) -> Iterator[Change]:
    """The changes that record packing, padding and adapted layers for the mixers of a family.

    Each model changes in `__call__` and in `forward`: accelerate keeps the forward that a model had
    when it was placed on devices, and peft calls `forward` directly.
    """
    yield Change(
        family.module,
        "apply_mask_to_padding_states",
        with_padding_record,
        ("hidden_states", "attention_mask"),
    )
    yield Change(f"{family.module}:{family.mixer}", "forward", calls_adapted_layers)
    for ending in ("ForCausalLM", "Model"):
        for attribute in ("__call__", "forward"):
            yield Change(f"{family.module}:{family.name}{ending}", attribute, keeps_seq_idx)
