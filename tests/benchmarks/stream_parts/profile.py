"""Where the time of a model's step goes: scan, convolution, projections, tokens, order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from record import Rows
from stream_parts.throughput import Task, inference, training
from torch.profiler import ProfilerActivity, profile, record_function

from evenfall_stream.models import event_classifier
from evenfall_stream.models.grouping import PointTokens
from evenfall_stream.nn import conv, selective
from evenfall_stream.nn.event_embedding import EventEmbedding

BACKWARD = {
    "evenfall::selective_scan_backward": "scan", "evenfall::causal_conv1d_backward": "convolution",
}  # fmt: skip
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm")
PLACES = (
    (PointTokens, "forward", "tokens"),
    (EventEmbedding, "forward", "embedding"),
    (conv, "serialize_graphs", "order"),
    (selective, "selective_scan", "scan"),
    (selective, "causal_conv1d", "convolution"),
    (event_classifier, "windows", "event pooling"),
    (event_classifier, "window_means", "event pooling"),
    (torch.optim.AdamW, "step", "optimizer"),
)
LABELS = {label for _, _, label in PLACES}
OTHER, PYTHON = "other operators", "Python between operators"


@contextmanager
def labelled() -> Iterator[None]:
    """What is done within PLACES shows up in a profile under their labels."""
    with ExitStack() as stack:
        for owner, name, label in PLACES:
            inner = getattr(owner, name)
            stack.enter_context(mock.patch.object(owner, name, _shown(label, inner)))
        yield


def _shown(label: str, inner: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with record_function(label):
            return inner(*args, **kwargs)

    return call


def part_of(event: Any, created: dict[int, str]) -> str:
    """The part that an event belongs to; in the backward pass, that of the operator it reverses.

    Args:
        event: of torch's profiler.
        created: the part of the operator that made each node of the graph, by its number.
    """
    part = "projections" if event.name in PRODUCTS else OTHER
    above = event
    while above is not None:
        if above.name in LABELS:
            return above.name
        if above.name in BACKWARD:
            return BACKWARD[above.name]
        if above.name.startswith("autograd::engine::evaluate_function"):
            known = created.get(above.sequence_nr, OTHER)
            return part if known == OTHER else known
        above = above.cpu_parent
    return part


def spent_by_part(events: list[Any]) -> dict[str, float]:
    """Milliseconds in the operators of each part."""
    created: dict[int, str] = {}
    spent: dict[str, float] = {}
    for event in sorted(events, key=lambda event: event.time_range.start):
        part = part_of(event, created)
        if event.sequence_nr >= 0 and not event.name.startswith("autograd::"):
            created[event.sequence_nr] = part  # the last one of a number has made its node
        spent[part] = spent.get(part, 0.0) + event.self_cpu_time_total / 1e3
    return spent


def shares(name: str, what: str, task: Task) -> Rows:
    """A row for each part of one inference or training step."""
    run = {"inference": inference, "training": training}[what](task)
    with labelled():
        run()
        with profile(activities=[ProfilerActivity.CPU]) as found:
            begin = time.perf_counter()
            run()
            whole = (time.perf_counter() - begin) * 1e3
    spent = spent_by_part(list(found.events()))
    spent[PYTHON] = max(0.0, whole - sum(spent.values()))
    return [
        {"part": "profile", "model": name, "pass": what, "batch": task.batch, "where": part,
         "ms": ms, "share": ms / whole}
        for part, ms in sorted(spent.items(), key=lambda item: -item[1])
    ]  # fmt: skip
