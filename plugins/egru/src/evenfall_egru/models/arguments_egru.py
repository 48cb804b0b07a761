"""Check the arguments of forward: an unknown one raises an error instead of being ignored."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from typing import Any

import torch
from transformers.utils import TransformersKwargs

from .configuration_egru import short

LOSS_ARGUMENTS = frozenset({"num_items_in_batch", "ignore_index", "shift_labels"})

# generate() passes its own arguments on, for stop_strings for example.
OF_GENERATE = frozenset({"tokenizer", "assistant_tokenizer"})

# Libraries pass these to every model; none changes what an EGRU computes.
_WITHOUT_EFFECT = frozenset(TransformersKwargs.__annotations__) | OF_GENERATE


def refuse_unknown(
    forward: Callable[..., Any], arguments: dict[str, Any], known: frozenset[str] = frozenset()
) -> None:
    """Check the keyword arguments that a forward method got besides its named ones.

    None and False have no effect and are allowed. Any other argument must be in `known`, a key of
    transformers' TransformersKwargs, or an argument of generate() that it passes on.

    Args:
        forward: the bound method.
        arguments: its `**kwargs`.
        known: other names that it uses.

    Raises:
        TypeError: an unknown argument; the message names the closest known one.
        ValueError: `is_causal=False`.
    """
    if arguments.get("is_causal") is False:
        raise ValueError("is_causal must be True or None, got False: EGRU reads from left to right")
    for name, value in arguments.items():
        if value is None or value is False or name in known or name in _WITHOUT_EFFECT:
            continue
        names = {*inspect.signature(forward).parameters, *known, *_WITHOUT_EFFECT} - {"kwargs"}
        near = difflib.get_close_matches(name, sorted(names), n=1)
        hint = f"; closest: {near[0]!r}" if near else ""
        raise TypeError(f"{forward.__qualname__}() has no argument {short(name)}{hint}")


def batch_and_steps(
    input_ids: torch.Tensor | None, inputs_embeds: torch.Tensor | None
) -> tuple[int, int]:
    """The first two sizes of input_ids (B, T) or inputs_embeds (B, T, E), of which one must be
    None.

    Raises:
        ValueError: both or neither are None, or the other one has another number of axes.
    """
    if (input_ids is None) == (inputs_embeds is None):
        got = "neither" if input_ids is None else "both"
        raise ValueError(f"pass exactly one of input_ids and inputs_embeds, got {got}")
    name, axes = ("inputs_embeds", 3) if input_ids is None else ("input_ids", 2)
    inputs: Any = inputs_embeds if input_ids is None else input_ids
    if len(inputs.shape) != axes:
        want = "(batch, time)" if axes == 2 else "(batch, time, width)"
        raise ValueError(f"{name} must have shape {want}, got {tuple(inputs.shape)}")
    batch, steps = inputs.shape[:2]
    return batch, steps


__all__ = ["LOSS_ARGUMENTS", "OF_GENERATE", "batch_and_steps", "refuse_unknown"]
