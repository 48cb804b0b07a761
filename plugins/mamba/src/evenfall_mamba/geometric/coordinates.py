"""Converts coordinates to time steps, within a call and across calls that share a cache.

B batch   L tokens of this call
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..huggingface.state import recurrent_state

_SLOT = 1
"""The slot of a cache layer that stores the last coordinate; slot 0 stores Mamba's state."""


def time_steps(
    coordinates: Tensor | None, embeds: Tensor, mask: Tensor | None, cache: Any
) -> Tensor | None:
    """Time since the previous token, (B, L) float32, in the unit of the coordinates.

    None without coordinates. The first token of a sequence has step 0. Masked tokens have step 0
    and may have any coordinate. With a cache, the first step counts from the last token of the
    previous call, and the last coordinate is stored for the next call.

    Raises:
        TypeError: coordinates are not floating point.
        ValueError: coordinates are not (B, L), not finite, decreasing or on another device; or only
            some of the calls that share a cache have coordinates.
    """
    last = last_coordinate(cache)
    is_continuation = cache is not None and cache.has_previous_state(0, 0)
    if coordinates is None:
        if last is not None:
            raise ValueError(
                "coordinates must be a tensor, got None: earlier calls with this cache had them"
            )
        return None
    if is_continuation and last is None:
        raise ValueError(
            "coordinates must be None, got a tensor: earlier calls with this cache had none"
        )
    _check(coordinates, embeds)
    valid = _valid(mask, coordinates)
    if last is None:
        last = torch.full_like(coordinates[:, :1], torch.nan, dtype=_difference_dtype(coordinates))
    steps, last = _differences(coordinates.to(last.dtype), valid, last)
    if cache is not None:
        layer = cache.layers[0]
        layer.update_recurrent_state(last, state_idx=_SLOT)
        layer.has_previous_state[_SLOT] = True
    return steps.float()


def last_coordinate(cache: Any) -> Tensor | None:
    """The last coordinate of each row, (B, 1), None if none is stored.

    It is NaN for a row whose tokens were all masked so far.

    Raises:
        ValueError: the cache has no slot for coordinates.
    """
    if cache is None:
        return None
    if len(cache.layers) == 0 or getattr(cache.layers[0], "number_of_states", 1) <= _SLOT:
        raise ValueError(
            f"cache must have a slot for coordinates, got a {type(cache).__name__} without one; "
            "use DynamicCache(config=model.config)"
        )
    return recurrent_state(cache, 0, _SLOT)


def next_coordinates(last: Tensor, count: int, step: float) -> Tensor:
    """The `count` coordinates after `last` (B, 1) at distance `step`: (B, count)."""
    return last + step * torch.arange(1, count + 1, dtype=last.dtype, device=last.device)


def _differences(coordinates: Tensor, valid: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """Steps (B, L), and the last coordinate (B, 1)."""
    if not torch.compiler.is_compiling() and not (finite := coordinates.isfinite() | ~valid).all():
        _raise_for("be finite", coordinates, finite)
    first = torch.where(valid, coordinates, torch.inf).amin(1, keepdim=True)
    start = torch.where(last.isnan(), first, last)  # infinite if all tokens so far are masked
    empty = start.isinf()
    start = torch.where(empty, 0.0, start)
    latest = torch.where(valid, coordinates, -torch.inf).cummax(1).values
    latest = torch.where(empty, 0.0, torch.maximum(latest, start))
    if (
        not torch.compiler.is_compiling()
        and not (ordered := (coordinates >= latest) | ~valid).all()
    ):
        _raise_for("not decrease, within a call or from the previous call", coordinates, ordered)
    steps = torch.diff(latest, prepend=start)
    return steps, torch.where(empty, torch.nan, latest[:, -1:])


def _raise_for(condition: str, coordinates: Tensor, holds: Tensor) -> None:
    row, token = (~holds).nonzero()[0].tolist()
    value = float(coordinates[row, token])
    raise ValueError(f"coordinates must {condition}, got {value} in row {row} at token {token}")


def _check(coordinates: Tensor, embeds: Tensor) -> None:
    if not coordinates.is_floating_point():
        raise TypeError(
            f"coordinates must be floating point, got {coordinates.dtype}; use coordinates.double()"
        )
    if coordinates.shape != embeds.shape[:2] or not coordinates.numel():
        raise ValueError(
            f"coordinates must have shape (batch, tokens) = {tuple(embeds.shape[:2])} with at "
            f"least one token, got {tuple(coordinates.shape)}"
        )
    if coordinates.device != embeds.device:
        raise ValueError(
            f"coordinates must be on {embeds.device}, like the tokens, got {coordinates.device}"
        )


def _valid(mask: Tensor | None, coordinates: Tensor) -> Tensor:
    if mask is None:
        return torch.ones_like(coordinates, dtype=torch.bool)
    if mask.shape != coordinates.shape:
        raise ValueError(
            "attention_mask must have the shape of coordinates, "
            f"{tuple(coordinates.shape)}, got {tuple(mask.shape)}"
        )
    return mask.bool()


def _difference_dtype(coordinates: Tensor) -> torch.dtype:
    """float64, for differences of large time stamps; float32 on Metal, which has no float64."""
    return torch.float32 if coordinates.device.type == "mps" else torch.float64
