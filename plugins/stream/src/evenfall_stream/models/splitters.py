"""How the models are called and split into blocks that learn by themselves.

The graph of each token is in the arguments of a block, and in the output of a stage: models pool
points to tokens, so the batch vector of the call does not say it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from evenfall.splitters import Splitter

_GRAPHS, _POINTS = 2, 160


def _point_call(model: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Two clouds in which every group has enough neighbours."""
    pos = torch.randn(_GRAPHS * _POINTS, model.dimensions)
    batch = torch.arange(_GRAPHS).repeat_interleave(_POINTS)
    features = torch.randn(len(pos), model.in_channels) if model.in_channels else None
    return (pos, batch, features), {}


def _event_call(model: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Two recordings of random pixels."""
    count = _GRAPHS * _POINTS
    time = torch.arange(_POINTS, dtype=torch.float32).repeat(_GRAPHS).unsqueeze(1)
    pixels = [torch.randint(size, (count, 1)).float() for size in model.sensor_size]
    polarity = torch.randint(model.polarities, (count, 1)).float()
    batch = torch.arange(_GRAPHS).repeat_interleave(_POINTS)
    return (polarity, torch.cat([time, *pixels], 1), batch), {}


def _blocks(model: Any) -> list[str]:
    """The STREAM blocks of a point cloud model."""
    return [name for name, _ in model.named_modules() if name.rpartition(".")[0].endswith("blocks")]


def _stages(model: Any) -> list[str]:
    return [f"stages.{index}" for index in range(len(model.stages))]


def _of_block(
    inputs: tuple[Any, ...], output: Tensor, named: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """The tokens that a StreamBlock returns; its arguments are x, pos, batch, serialization."""
    return output, inputs[2]


def _of_stage(
    inputs: tuple[Any, ...], output: tuple[Any, ...], named: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    tokens, _, graphs = output
    return tokens, graphs.batch


POINTS = Splitter(_point_call, _blocks, _of_block)
EVENTS = Splitter(_event_call, _stages, _of_stage)
