"""An EventStreamClassifier in pieces: the state after the next events from the state before.

The functions change nothing that they are given, so that a stream can be finished on the side and
go on. Letters: n inputs of a stage, k tokens that come out, W width.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..models.event_classifier import EventStage, EventStreamClassifier
from .events import Times, steps_after
from .state import Evidence, OnlineState, StageState

Tokens = tuple[Tensor, Times]


def advance(
    model: EventStreamClassifier, state: OnlineState, x: Tensor, times: Times
) -> OnlineState:
    """The state after (n, W) embedded events at (n,) times."""
    tokens, stages = (x, times), []
    for stage, before in zip(model.stages, state.stages, strict=True):
        after, tokens = advance_stage(stage, before, *tokens)
        stages.append(after)
    return _with_tokens(model, state, stages, tokens)


def close(model: EventStreamClassifier, state: OnlineState) -> OnlineState:
    """The state if the stream ended here: windows that are not full become tokens as they are.

    At most one token comes from each stage: one that the stage before gives either fills the
    window, or is in it when it is closed.
    """
    tokens, stages = (state.stages[0].total[:0], np.empty(0)), []
    for stage, before in zip(model.stages, state.stages, strict=True):
        after, tokens = advance_stage(stage, before, *tokens)
        if after.count:
            after, tokens = _close_window(stage, after)
        stages.append(after)
    return _with_tokens(model, state, stages, tokens)


def logits(model: EventStreamClassifier, evidence: Evidence) -> Tensor:
    """The model's head: (1, classes)."""
    if model.head == "time" and evidence.weight > 0:
        pooled = evidence.weighted / evidence.weight
    else:
        pooled = evidence.plain / max(evidence.count, 1)
    return model.classify(model.dropout(pooled.to(model.classify.weight.dtype)[None]))


def advance_stage(
    stage: EventStage, state: StageState, x: Tensor, times: Times
) -> tuple[StageState, Tokens]:
    """The stage after (n, W) inputs at (n,) times, and the tokens that it gave."""
    if not len(times):
        return state, (x, times)
    block, stride, x = stage.pooling, stage.stride, x.to(state.total)
    branch, layer = block.conv.forward_chunk(
        block.norm(x), _steps(state.seen, times, x), state.pooling
    )
    full, count = divmod(state.count + len(times), stride)
    window = torch.arange(state.count, state.count + len(times), device=x.device) // stride
    sums = torch.cat([state.total, x.new_zeros(full, x.shape[1])]).index_add_(0, window, x)
    ends = slice(stride - state.count - 1, None, stride)
    state = state._replace(
        # Copies, because views would keep the whole piece in memory.
        pooling=layer, total=sums[full:].clone(), branch=branch[-1:].clone(), count=count,
        seen=float(times[-1]),
    )  # fmt: skip
    return _after_pooling(stage, state, sums[:full] / stride + branch[ends], times[ends])


def _close_window(stage: EventStage, state: StageState) -> tuple[StageState, Tokens]:
    """The window as it is becomes a token at the time of its last input."""
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
        for block, before in zip(stage.blocks, state.blocks, strict=True):
            branch, layer = block.conv.forward_chunk(block.norm(x), step, before)
            x = block.add_mlp(x + branch)
            layers.append(layer)
    return state._replace(blocks=tuple(layers), time=float(times[-1])), (x, times)


def _with_tokens(
    model: EventStreamClassifier, state: OnlineState, stages: list[StageState], tokens: Tokens
) -> OnlineState:
    """The new stages, and what the tokens of the last of them add to the evidence."""
    x, times = tokens
    evidence = state.evidence
    if len(times):
        steps = steps_after(state.stages[-1].time, times)
        wide = model.norm(x).double()
        weight = torch.from_numpy(steps).to(wide.device)
        evidence = Evidence(
            evidence.plain + wide.sum(0), evidence.weighted + weight @ wide,
            evidence.weight + float(steps.sum()), evidence.count + len(times),
        )  # fmt: skip
    return state._replace(stages=tuple(stages), evidence=evidence)


def _steps(before: float, times: Times, like: Tensor) -> Tensor:
    """Differences taken in float64, so that they stay exact hours into a stream."""
    return torch.from_numpy(steps_after(before, times)).to(like)
