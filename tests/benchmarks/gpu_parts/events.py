"""event_matmul on a GPU against torch.mm over the whole matrix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from gpu_parts.timing import Functions, medians_ms, ratio

from evenfall_kernels import compress_rows, event_matmul, quantize_rows

SIZE, TINY_SIZE = (1350, 4050), (8, 24)
ACTIVITIES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 1.0)


def time_events(device: str, large: bool, rounds: int) -> Iterator[dict[str, Any]]:
    """A row for each product, activity and batch, of 1 and of 16."""
    units, outputs = SIZE if large else TINY_SIZE
    torch.manual_seed(0)
    weight = torch.randn(units, outputs, device=device)
    low, (quantized, scale) = weight.bfloat16(), quantize_rows(weight)
    pruned = compress_rows(weight * (torch.rand_like(weight) < 0.1))
    for batch in (1, 16):
        for activity in ACTIVITIES:
            fired = torch.rand(batch, units, device=device) < activity
            events = torch.randn(batch, units, device=device) * fired
            few = events.bfloat16()
            functions: Functions = {
                "dense float32": lambda e=events: torch.mm(e, weight),
                "dense bfloat16": lambda e=few: torch.mm(e, low),
                "event float32": lambda e=events: event_matmul(e, weight),
                "event bfloat16": lambda e=events: event_matmul(e, low),
                "event int8": lambda e=events: event_matmul(e, quantized, scale=scale),
                "event 10 % float32": lambda e=events: event_matmul(e, pruned),
            }
            with torch.no_grad():
                ms = medians_ms(functions, device, rounds)
            entry = {"dense float32": 4, "dense bfloat16": 2, "event float32": 4,
                     "event bfloat16": 2, "event int8": 1}  # fmt: skip
            for name, value in ms.items():
                read = units if name.startswith("dense") else int(fired.sum())
                size = entry.get(name)
                moved = None if size is None else read * outputs * size
                yield {
                    "part": "event",
                    "batch": batch,
                    "activity": activity,
                    "product": name,
                    "microseconds": None if value is None else value * 1e3,
                    "times_faster_than_dense": ratio(ms["dense float32"], value),
                    "gb_s": None if value is None or moved is None else moved / value / 1e6,
                }
