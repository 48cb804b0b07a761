"""egru_step: one token through a whole EGRU model, in one call."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...common.dispatch import choose
from . import reference
from .stack import EgruStack, EgruWeights, input_table

__all__ = ["EgruStack", "EgruWeights", "egru_step", "input_table"]

State = tuple[Tensor, Tensor]


def egru_step(stack: EgruStack, ids: Tensor, states: Sequence[State]) -> tuple[Tensor, list[State]]:
    """Run one token through embedding, EGRU layers and decoder.

        x = embedding[ids]
        x, state = one step of egru_scan(x, state)      for each layer, thresholds clipped to [0, 1]
        out = x decoder + decoder_bias                  where the stack has a decoder

    Each product reads only the rows of units that fired. On the CPU all of it is one compiled call.
    The states of the arguments are not changed.

    Args:
        stack: the weights.
        ids: (B,) int64, tokens, one per sequence.
        states: (y, h) of each layer, each (B, H), as `egru_scan` returns them.

    Returns:
        The logits (B, V), or without a decoder the outputs of the last layer (B, H), in the dtype
        of the embedding, float32 for a StoredMatrix; and the new states, float32 (float64 for a
        float64 embedding).

    Sums are in float32 (float64) and products add the rows in their order, so results equal those
    of `egru_scan` and `event_matmul` within rounding.

    It has no gradients: use it under `torch.no_grad()`, and `egru_scan` to train. `torch.compile`
    and tracers record the operations of the reference.

    Raises:
        TypeError: ids or a state is not a tensor, or has a wrong dtype.
        ValueError: a shape or device does not match, or a gradient is required.
        IndexError: an id is not in [0, V).
        BackendError: a torch.func transform or a forward-mode tangent with a backend other than
            "reference".

    Source: as `egru_scan`.
    """
    _check_ids(stack, ids)
    kind = torch.float64 if stack.dtype == torch.float64 else torch.float32
    flat = _check_states(stack, ids.shape[0], states, kind)
    if torch.is_grad_enabled() and any(t.requires_grad for t in (*stack.tensors, *flat)):
        raise ValueError(
            "egru_step has no gradients, but an argument requires one: call it under "
            "torch.no_grad(), or use egru_scan"
        )
    words = stack.embedding if isinstance(stack.embedding, Tensor) else stack.embedding.values
    choice = choose("egru_step", [words, ids, *flat], stack.dtype)
    pairs = list(zip(flat[::2], flat[1::2], strict=True))
    return (choice.module or reference).step(stack, ids, pairs)


def _check_ids(stack: EgruStack, ids: Tensor) -> None:
    if not isinstance(ids, Tensor):
        raise TypeError(f"egru_step: ids must be a Tensor, got {type(ids).__name__}")
    if ids.dtype != torch.int64:
        raise TypeError(f"egru_step: ids must be int64, got {ids.dtype}")
    if ids.ndim != 1:
        raise ValueError(f"egru_step: ids must have shape (B,), got {tuple(ids.shape)}")
    if ids.device != stack.embedding.device:
        raise ValueError(
            f"egru_step: ids are on {ids.device}, but the stack is on {stack.embedding.device}"
        )


def _check_states(
    stack: EgruStack, batch: int, states: Sequence[State], dtype: torch.dtype
) -> list[Tensor]:
    """y and h of all layers one after another, contiguous, in `dtype`."""
    if len(states) != len(stack.units):
        raise ValueError(
            f"egru_step: states must have a pair (y, h) for each of {len(stack.units)} layers, got "
            f"{len(states)}"
        )
    flat = []
    for index, (units, state) in enumerate(zip(stack.units, states, strict=True)):
        if not isinstance(state, tuple | list) or len(state) != 2:
            raise TypeError(
                f"egru_step: states[{index}] must be a pair (y, h), got {type(state).__name__}"
            )
        for tensor in state:
            if not isinstance(tensor, Tensor):
                raise TypeError(
                    f"egru_step: states[{index}] must have Tensors, got {type(tensor).__name__}"
                )
            if tensor.shape != (batch, units):
                raise ValueError(
                    f"egru_step: states[{index}] must have shape ({batch}, {units}), got "
                    f"{tuple(tensor.shape)}"
                )
            if tensor.device != stack.embedding.device:
                raise ValueError(
                    f"egru_step: states[{index}] is on {tensor.device}, but the stack is on "
                    f"{stack.embedding.device}"
                )
            plain = tensor.dtype == dtype and tensor.is_contiguous()
            flat.append(tensor if plain else tensor.to(dtype).contiguous())
    return flat
