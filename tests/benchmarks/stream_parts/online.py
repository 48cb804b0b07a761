"""Events a second of OnlineClassifier, by how many come at a time and how often it is asked."""

from __future__ import annotations

from functools import partial

from record import Rows
from stream_parts.throughput import recordings
from timing import medians
from torch import Tensor

from evenfall_stream import OnlineClassifier

AT_A_TIME = (1, 64, 1024)
EVENTS, ASKED_ALONE = 16384, 256
"""Events of a stream, and of one whose logits are asked for after each single event."""
QUICK_EVENTS = 128
END, EACH = "at the end", "after each push"


def pushes(stream: OnlineClassifier, x: Tensor, pos: Tensor, at_a_time: int, asked: str) -> None:
    """A new stream of these events, in pushes of some at a time."""
    stream.reset()
    parts = zip(x.split(at_a_time), pos.split(at_a_time), strict=True)
    for polarity, place in parts:
        stream.push(polarity, place)
        if asked == EACH:
            stream.logits()
    stream.logits()


def online(quick: bool, rounds: int) -> Rows:
    """A row for each number of events at a time, asked in the end alone and after each push."""
    most = QUICK_EVENTS if quick else EVENTS
    task = recordings(most, 1)
    stream = OnlineClassifier(task.model.eval())
    x, pos = task.inputs["x"], task.inputs["pos"]
    rows: Rows = []
    for at_a_time in AT_A_TIME:
        for asked in (END, EACH):
            events = min(most, ASKED_ALONE) if (at_a_time, asked) == (1, EACH) else most
            call = partial(pushes, stream, x[:events], pos[:events], at_a_time, asked)
            seconds = medians({asked: call}, rounds)[asked]
            rows.append(
                {"part": "online", "events_at_a_time": at_a_time, "logits": asked,
                 "events": events, "events_per_second": events / seconds,
                 "microseconds_a_push": seconds * 1e6 / -(-events // at_a_time)}
            )  # fmt: skip
    return rows
