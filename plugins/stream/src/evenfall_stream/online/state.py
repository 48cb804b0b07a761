"""What a model must remember of an event stream, of fixed size, and its form as tensors."""

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
    """One stage: its layers, and the window that is not full yet. W is the width before pooling.

    Attributes:
        pooling: of the block that pools.
        blocks: of those after it.
        total: (1, W) the sum of the window's inputs.
        branch: (1, W) the layer's output at the last of them.
        count: how many those are.
        seen: the time of the last input, NaN before the first.
        time: the time of the last token, NaN before the first.
    """

    pooling: SelectiveState
    blocks: tuple[SelectiveState, ...]
    total: Tensor
    branch: Tensor
    count: int = 0
    seen: float = math.nan
    time: float = math.nan


class Evidence(NamedTuple):
    """The tokens of the last stage, added up for either head, in float64.

    Attributes:
        plain: (W,) the sum of the tokens.
        weighted: (W,) the same, each times the step before it.
        weight: the sum of the steps.
        count: how many tokens.
    """

    plain: Tensor
    weighted: Tensor
    weight: float = 0.0
    count: int = 0


class OnlineState(NamedTuple):
    """The whole stream."""

    clock: Clock
    stages: tuple[StageState, ...]
    evidence: Evidence


def zero_state(model: EventStreamClassifier) -> OnlineState:
    """The state before the first event."""
    nothing = model.classify.weight.new_zeros(model.classify.in_features, dtype=torch.float64)
    stages = tuple(_zero_stage(stage) for stage in model.stages)
    return OnlineState(Clock(), stages, Evidence(nothing, nothing))


def _zero_stage(stage: EventStage) -> StageState:
    layers = [_zero_view(block.conv.views[0]) for block in (stage.pooling, *stage.blocks)]
    nothing = stage.pooling.norm.weight.new_zeros(1, stage.pooling.conv.in_channels)
    return StageState(layers[0], tuple(layers[1:]), nothing, nothing)


def _zero_view(view: SelectiveView) -> SelectiveState:
    like = view.x_proj.weight
    dtype = torch.promote_types(like.dtype, torch.float32)  # that of the scan's states
    return SelectiveState(
        like.new_zeros(1, view.channels, view.d_conv - 1) if view.d_conv else None,
        like.new_zeros(1, view.channels, view.d_state, dtype=dtype),
    )


def pack(state: OnlineState) -> dict[str, Tensor]:
    """Every part by its place, such as "stages.0.pooling.ssm"; numbers as tensors of no shape."""
    return {name: _tensor(value) for name, value in _leaves(state, "")}


def unpack(like: OnlineState, tensors: Mapping[str, Tensor]) -> OnlineState:
    """The state that `pack` turned into tensors, with the devices and dtypes of another.

    Raises:
        ValueError: tensors missing, unknown or of another shape.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in pack(like).items()}
    if wanted.keys() != tensors.keys():
        missing, unknown = wanted.keys() - tensors.keys(), tensors.keys() - wanted.keys()
        raise ValueError(
            f"state must have the names that state_dict gives, but lacks {sorted(missing)} and has "
            f"{sorted(unknown)} besides"
        )
    for name, shape in wanted.items():
        if tuple(tensors[name].shape) != shape:
            raise ValueError(
                f"state[{name!r}] must have shape {shape}, got {tuple(tensors[name].shape)}"
            )
    return _filled(like, tensors, "")


def _children(value: Any, prefix: str) -> list[tuple[str, Any]]:
    names = getattr(value, "_fields", range(len(value)))
    return [(f"{prefix}{name}", child) for name, child in zip(names, value, strict=True)]


def _leaves(value: Any, prefix: str) -> list[tuple[str, Any]]:
    found = []
    for name, child in _children(value, prefix):
        if isinstance(child, tuple):
            found += _leaves(child, f"{name}.")
        elif child is not None:
            found.append((name, child))
    return found


def _filled(value: Any, tensors: Mapping[str, Tensor], prefix: str) -> Any:
    parts: list[Any] = []
    for name, child in _children(value, prefix):
        if isinstance(child, tuple):
            parts.append(_filled(child, tensors, f"{name}."))
        elif isinstance(child, Tensor):
            parts.append(tensors[name].detach().to(child, copy=True))
        else:
            parts.append(None if child is None else type(child)(tensors[name].item()))
    return value._make(parts) if hasattr(value, "_make") else tuple(parts)


def _tensor(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value.clone(memory_format=torch.contiguous_format)
    return torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else torch.int64)
