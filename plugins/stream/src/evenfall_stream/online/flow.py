"""An EventStreamClassifier step by step: from a state and the next events to the next state.

The functions do not change their arguments, so `logits` can close a copy of the stream.
Letters: n inputs of a stage, k output tokens, W width.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from ..models.event_classifier import EventStage, EventStreamClassifier
from .events import Times, steps_after
from .state import Evidence, OnlineState, StageState

Tokens: TypeAlias = tuple[Tensor, Times]


def advance(
    model: EventStreamClassifier, state: OnlineState, x: Tensor, times: Times
) -> OnlineState:
    """The state after (n, W) embedded events at (n,) times."""
    tokens, stages = (x, times), []
    for stage, old in zip(model.stages, state.stages, strict=True):
        new, tokens = advance_stage(stage, old, *tokens)
        stages.append(new)
    return _with_tokens(model, state, stages, tokens)


def close(model: EventStreamClassifier, state: OnlineState) -> OnlineState:
    """The state if the stream ended here: incomplete windows become tokens.

    Each stage outputs at most one token: a token from the previous stage either completes the
    window or is in the incomplete window.
    """
    tokens, stages = (state.stages[0].total[:0], np.empty(0)), []
    for stage, old in zip(model.stages, state.stages, strict=True):
        new, tokens = advance_stage(stage, old, *tokens)
        if new.count:
            new, tokens = _close_window(stage, new)
        stages.append(new)
    return _with_tokens(model, state, stages, tokens)


def logits(model: EventStreamClassifier, evidence: Evidence) -> Tensor:
    """The output of the model's head, (1, classes)."""
    if model.head == "time" and evidence.weight > 0:
        pooled = evidence.weighted / evidence.weight
    else:
        pooled = evidence.plain / max(evidence.count, 1)
    return model.classify(model.dropout(pooled.to(model.norm.weight.dtype)[None]))


def advance_stage(
    stage: EventStage, state: StageState, x: Tensor, times: Times
) -> tuple[StageState, Tokens]:
    """The state after (n, W) inputs at (n,) times, and the output tokens."""
    if not len(times):
        return state, (x, times)
    block, stride, x = stage.pooling, stage.stride, x.to(state.total)
    branch, layer = block.conv.forward_chunk(
        block.norm(x), _steps(state.seen, times, x), state.pooling
    )
    complete, count = divmod(state.count + len(times), stride)
    window = torch.arange(state.count, state.count + len(times), device=x.device) // stride
    sums = torch.cat([state.total, x.new_zeros(complete, x.shape[1])]).index_add_(0, window, x)
    ends = slice(stride - state.count - 1, None, stride)
    state = state._replace(
        # Copies, because views would keep the whole piece in memory.
        pooling=layer, total=sums[complete:].clone(), branch=branch[-1:].clone(), count=count,
        seen=float(times[-1]),
    )  # fmt: skip
    return _after_pooling(stage, state, sums[:complete] / stride + branch[ends], times[ends])


def _close_window(stage: EventStage, state: StageState) -> tuple[StageState, Tokens]:
    """Make a token of the incomplete window, at the time of its last input."""
    token = state.total / state.count + state.branch
    return _after_pooling(stage, state, token, np.array([state.seen]))


def _after_pooling(
    stage: EventStage, state: StageState, x: Tensor, times: Times
) -> tuple[StageState, Tokens]:
    """(k, W) pooled tokens through the rest of the stage."""
    if not len(times):
        return state, (x, times)
    x = stage.widen(stage.pooling.add_mlp(x))
    layers = []
    if len(stage.blocks):
        step = _steps(state.time, times, x)
        for block, old in zip(stage.blocks, state.blocks, strict=True):
            branch, layer = block.conv.forward_chunk(block.norm(x), step, old)
            x = block.add_mlp(x + branch)
            layers.append(layer)
    return state._replace(blocks=tuple(layers), time=float(times[-1])), (x, times)


def _with_tokens(
    model: EventStreamClassifier, state: OnlineState, stages: list[StageState], tokens: Tokens
) -> OnlineState:
    """The state with new stages, and with the tokens of the last stage added to the evidence."""
    x, times = tokens
    evidence = state.evidence
    if len(times):
        steps = steps_after(state.stages[-1].time, times)
        features = model.norm(x).double()
        weight = torch.from_numpy(steps).to(features.device)
        evidence = Evidence(
            evidence.plain + features.sum(0), evidence.weighted + weight @ features,
            evidence.weight + float(steps.sum()), evidence.count + len(times),
        )  # fmt: skip
    return state._replace(stages=tuple(stages), evidence=evidence)


def _steps(previous: float, times: Times, like: Tensor) -> Tensor:
    """The steps before the times, subtracted in float64 so that they stay exact after hours."""
    return torch.from_numpy(steps_after(previous, times)).to(like)
