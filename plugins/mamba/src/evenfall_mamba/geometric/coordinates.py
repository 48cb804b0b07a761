"""From coordinates to steps, within a call and across calls that share a cache.

B batch   L tokens of this call
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..huggingface.carried import state_so_far

_SLOT = 1
"""The cache layer's slot of the last coordinate; slot 0 is Mamba's own."""


def steps_of(
    coordinates: Tensor | None, embeds: Tensor, mask: Tensor | None, cache: Any
) -> Tensor | None:
    """The time since the token before, (B, L) float32, in the unit of the coordinates.

    None without coordinates. The first token of all has step 0. Masked tokens have step 0 and
    whatever coordinate. With a cache, the first step counts from the last token of the call before,
    and the last coordinate is put there for the next call.

    Raises:
        TypeError: coordinates are not real floating point.
        ValueError: they are not (B, L), not finite, decrease, lie on another device, or only some
            of the calls that share a cache have them.
    """
    last = last_coordinate(cache)
    begun = cache is not None and cache.has_previous_state(0, 0)
    if coordinates is None:
        if last is not None:
            raise ValueError("coordinates must be given: the calls before gave them, got None")
        return None
    if begun and last is None:
        raise ValueError("coordinates must be None: the calls before gave none, got a tensor")
    _check(coordinates, embeds)
    real = _real(mask, coordinates)
    if last is None:
        last = torch.full_like(coordinates[:, :1], torch.nan, dtype=_wide(coordinates))
    steps, last = _differences(coordinates.to(last.dtype), real, last)
    if cache is not None:
        layer = cache.layers[0]
        layer.update_recurrent_state(last, state_idx=_SLOT)
        layer.has_previous_state[_SLOT] = True
    return steps.float()


def last_coordinate(cache: Any) -> Tensor | None:
    """The last coordinate of each row, (B, 1), None where none is kept.

    NaN stands for a row of which all tokens so far were masked.

    Raises:
        ValueError: the cache has no place for it.
    """
    if cache is None:
        return None
    if len(cache.layers) == 0 or getattr(cache.layers[0], "number_of_states", 1) <= _SLOT:
        raise ValueError("the cache must be made from a GeometricMambaConfig, got another cache")
    return state_so_far(cache, 0, _SLOT)


def carried_on(last: Tensor, count: int, step: float) -> Tensor:
    """`count` coordinates after `last` (B, 1), `step` apart: (B, count)."""
    return last + step * torch.arange(1, count + 1, dtype=last.dtype, device=last.device)


def _differences(coordinates: Tensor, real: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """Steps (B, L), and the last coordinate (B, 1)."""
    if not torch.compiler.is_compiling() and not (finite := coordinates.isfinite() | ~real).all():
        _refuse("be finite", coordinates, finite)
    first = torch.where(real, coordinates, torch.inf).amin(1, keepdim=True)
    start = torch.where(last.isnan(), first, last)  # infinite where nothing is real yet
    empty = start.isinf()
    start = torch.where(empty, 0.0, start)
    behind = torch.where(real, coordinates, -torch.inf)
    reached = torch.maximum(behind.cummax(1).values, start)
    reached = torch.where(empty, 0.0, reached)
    if not torch.compiler.is_compiling() and not (rising := (coordinates >= reached) | ~real).all():
        _refuse("not decrease, nor fall behind the call before", coordinates, rising)
    steps = torch.diff(reached, prepend=start)
    return steps, torch.where(empty, torch.nan, reached[:, -1:])


def _refuse(wanted: str, coordinates: Tensor, good: Tensor) -> None:
    row, token = (~good).nonzero()[0].tolist()
    value = float(coordinates[row, token])
    raise ValueError(f"coordinates must {wanted}, got {value} in row {row} at token {token}")


def _check(coordinates: Tensor, embeds: Tensor) -> None:
    if not coordinates.is_floating_point():
        raise TypeError(f"coordinates must be real floating point, got {coordinates.dtype}")
    if coordinates.shape != embeds.shape[:2] or not coordinates.numel():
        raise ValueError(
            f"coordinates must have shape (batch, tokens) = {tuple(embeds.shape[:2])} with at "
            f"least one token, got {tuple(coordinates.shape)}"
        )
    if coordinates.device != embeds.device:
        raise ValueError(
            f"coordinates are on {coordinates.device}, but the tokens are on {embeds.device}"
        )


def _real(mask: Tensor | None, coordinates: Tensor) -> Tensor:
    if mask is None:
        return torch.ones_like(coordinates, dtype=torch.bool)
    if mask.shape != coordinates.shape:
        raise ValueError(
            "attention_mask must have the shape of coordinates, "
            f"{tuple(coordinates.shape)}, got {tuple(mask.shape)}"
        )
    return mask.bool()


def _wide(coordinates: Tensor) -> torch.dtype:
    """Differences of large time stamps want float64, which Metal lacks."""
    return torch.float32 if coordinates.device.type == "mps" else torch.float64
