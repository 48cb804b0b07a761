"""Clouds and events a second of the published models' sizes: inference and training steps.

Positions, times and pixels are random, which changes nothing in the speed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from record import Rows
from timing import medians
from torch import Tensor, nn

from evenfall_stream import EventStreamClassifier, StreamClassifier

CLASSES, SENSOR, MILLISECONDS = 10, (34, 34), 300.0
POINTS = {
    "num_classes": CLASSES, "width": 96, "depth": 3, "groups": 64, "neighbors": 16, "d_state": 8,
    "pooling": "meanmax",
}  # fmt: skip
EVENTS = {
    "num_classes": CLASSES, "sensor_size": SENSOR, "frequencies": 12, "widths": (48, 128),
    "depths": (1, 2), "strides": (8, 8), "d_state": 8,
}  # fmt: skip
ARCHITECTURES = ("stream", "pointmamba", "pointnet")
CLOUD, RECORDING, BATCHES = 1024, 4096, (1, 32)
QUICK_CLOUD, QUICK_RECORDING, QUICK_BATCHES = 128, 200, (1, 3)


class Task(NamedTuple):
    """A model with a batch of examples: what it is called with, and what is counted a second."""

    model: nn.Module
    inputs: dict[str, Tensor]
    batch: int
    unit: str
    counted: int


def clouds(architecture: str, points: int, batch: int) -> Task:
    """The ModelNet10 model or a baseline of its width."""
    torch.manual_seed(0)
    model = StreamClassifier(architecture=architecture, **POINTS)
    pos = F.normalize(torch.randn(batch * points, 3), dim=1)
    graph_of = torch.arange(batch).repeat_interleave(points)
    return Task(model, {"pos": pos, "batch": graph_of}, batch, "clouds", batch)


def recordings(events: int, batch: int) -> Task:
    """The N-MNIST model on random recordings."""
    torch.manual_seed(0)
    polarity = torch.randint(2, (batch * events, 1)).float()
    times = torch.rand(batch, events).mul(MILLISECONDS).sort(1).values
    pixels = torch.stack([torch.randint(size, (batch * events,)) for size in SENSOR], 1)
    inputs = {
        "x": polarity, "pos": torch.cat([times.view(-1, 1), pixels], 1),
        "batch": torch.arange(batch).repeat_interleave(events),
    }  # fmt: skip
    return Task(EventStreamClassifier(**EVENTS), inputs, batch, "events", batch * events)


def inference(task: Task) -> Callable[[], None]:
    model = task.model

    def run() -> None:
        model.eval()
        with torch.no_grad():
            model(**task.inputs)

    return run


def training(task: Task) -> Callable[[], None]:
    """Forward, backward and a step of AdamW."""
    labels = torch.arange(task.batch) % CLASSES
    optimizer = torch.optim.AdamW(task.model.parameters(), lr=1e-3)

    def run() -> None:
        task.model.train()
        loss = F.cross_entropy(task.model(**task.inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return run


def throughput(quick: bool, rounds: int) -> Rows:
    """A row for each model, batch and pass."""
    points, events = (QUICK_CLOUD, QUICK_RECORDING) if quick else (CLOUD, RECORDING)
    rows: Rows = []
    for batch in QUICK_BATCHES if quick else BATCHES:
        rows += _rows({name: clouds(name, points, batch) for name in ARCHITECTURES}, rounds)
        rows += _rows({"stream, events": recordings(events, batch)}, rounds)
    return rows


def _rows(tasks: dict[str, Task], rounds: int) -> Rows:
    found: Rows = []
    for what, make in (("inference", inference), ("training", training)):
        able = {
            name: make(task)
            for name, task in tasks.items()
            # BatchNorm in the head has no variance to take over one cloud.
            if what == "inference" or task.unit == "events" or task.batch > 1
        }
        seconds = medians(able, rounds)
        found += [
            {"part": "throughput", "model": name, "pass": what, "batch": task.batch,
             "unit": task.unit, "ms": seconds[name] * 1e3,
             "per_second": task.counted / seconds[name],
             "parameters": sum(p.numel() for p in task.model.parameters())}
            for name, task in tasks.items() if name in seconds
        ]  # fmt: skip
    return found
