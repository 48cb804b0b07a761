"""The state of a model on an event stream, of constant size, and its conversion to tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..models.event_classifier import EventStage, EventStreamClassifier
from ..nn.selective import SelectiveState, SelectiveView
from .events import Clock


class StageState(NamedTuple):
    """The state of a stage: its layers and the incomplete window. W is the width before pooling.

    Attributes:
        pooling: state of the pooling block.
        blocks: states of the other blocks.
        total: (1, W) sum of the window's inputs.
        branch: (1, W) the layer's output at the last input.
        count: number of the window's inputs.
        seen: time of the last input, NaN before the first.
        time: time of the last token, NaN before the first.
    """

    pooling: SelectiveState
    blocks: tuple[SelectiveState, ...]
    total: Tensor
    branch: Tensor
    count: int = 0  # type: ignore[assignment]  # hides tuple.count, which nothing calls
    seen: float = math.nan
    time: float = math.nan


class Evidence(NamedTuple):
    """Sums over the tokens of the last stage for both heads, in float64.

    Attributes:
        plain: (W,) sum of the tokens.
        weighted: (W,) sum of the tokens, each times the step before it.
        weight: sum of the steps.
        count: number of tokens.
    """

    plain: Tensor
    weighted: Tensor
    weight: float = 0.0
    count: int = 0  # type: ignore[assignment]  # hides tuple.count, which nothing calls


class OnlineState(NamedTuple):
    """The state of the whole stream."""

    clock: Clock
    stages: tuple[StageState, ...]
    evidence: Evidence


def zero_state(model: EventStreamClassifier) -> OnlineState:
    """The state before the first event."""
    zeros = model.norm.weight.new_zeros(model.norm.weight.shape, dtype=torch.float64)
    stages = tuple(_zero_stage(stage) for stage in model.stages)
    return OnlineState(Clock(), stages, Evidence(zeros, zeros))


def _zero_stage(stage: EventStage) -> StageState:
    layers = [_zero_view(block.conv.views[0]) for block in (stage.pooling, *stage.blocks)]
    zeros = stage.pooling.norm.weight.new_zeros(1, stage.pooling.conv.in_channels)
    return StageState(layers[0], tuple(layers[1:]), zeros, zeros)


def _zero_view(view: SelectiveView) -> SelectiveState:
    like = view.D
    dtype = torch.promote_types(like.dtype, torch.float32)  # the dtype of the scan's states
    return SelectiveState(
        like.new_zeros(1, view.channels, view.d_conv - 1) if view.d_conv else None,
        like.new_zeros(1, view.channels, view.d_state, dtype=dtype),
    )


def pack(state: OnlineState) -> dict[str, Tensor]:
    """The state by name, such as "stages.0.pooling.ssm"; numbers become scalar tensors."""
    return {name: _tensor(value) for name, value in _leaves(state, "")}


def unpack(like: OnlineState, tensors: Mapping[str, Tensor]) -> OnlineState:
    """The inverse of `pack`, with the devices and dtypes of `like`.

    Raises:
        ValueError: a tensor is missing, unknown or of another shape.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in pack(like).items()}
    if shapes.keys() != tensors.keys():
        missing, unknown = shapes.keys() - tensors.keys(), tensors.keys() - shapes.keys()
        raise ValueError(
            "state must have the names that state_dict returns: "
            f"missing {sorted(missing)}, unknown {sorted(unknown)}"
        )
    for name, shape in shapes.items():
        if tuple(tensors[name].shape) != shape:
            raise ValueError(
                f"state[{name!r}] must have shape {shape}, got {tuple(tensors[name].shape)}"
            )
    return _from_tensors(like, tensors, "")


def _children(value: Any, prefix: str) -> list[tuple[str, Any]]:
    names = getattr(value, "_fields", range(len(value)))
    return [(f"{prefix}{name}", child) for name, child in zip(names, value, strict=True)]


def _leaves(value: Any, prefix: str) -> list[tuple[str, Any]]:
    leaves = []
    for name, child in _children(value, prefix):
        if isinstance(child, tuple):
            leaves += _leaves(child, f"{name}.")
        elif child is not None:
            leaves.append((name, child))
    return leaves


def _from_tensors(value: Any, tensors: Mapping[str, Tensor], prefix: str) -> Any:
    parts: list[Any] = []
    for name, child in _children(value, prefix):
        if isinstance(child, tuple):
            parts.append(_from_tensors(child, tensors, f"{name}."))
        elif isinstance(child, Tensor):
            parts.append(tensors[name].detach().to(child, copy=True))
        else:
            parts.append(None if child is None else type(child)(tensors[name].item()))
    return value._make(parts) if hasattr(value, "_make") else tuple(parts)


def _tensor(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value.clone(memory_format=torch.contiguous_format)
    return torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else torch.int64)
