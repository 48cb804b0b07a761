"""A million tokens, and a million events, one after the other: does the memory grow?"""

from __future__ import annotations

import resource
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from . import inputs

WARM = 0.1
"""The share of the steps after which memory is compared."""


def resident_mib() -> float:
    """What the process holds in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def growth(step: Callable[[int], None], steps: int) -> float:
    """MiB more at the end than after a tenth of the steps, the largest of ten looks."""
    looks, warm = [], int(steps * WARM)
    for number in range(steps):
        step(number)
        if number >= warm and number % max(1, steps // 10) == 0:
            looks.append(resident_mib())
    return max(looks) - looks[0]


def row(what: str, steps: int, unit: str, grown: float) -> dict[str, Any]:
    """A process may keep a few MiB more: allocators round up."""
    return {"what": what, "tried": steps, "unit": unit, "seen": f"{max(grown, 0):.1f} MiB more",
            "wrong": int(grown > 16)}  # fmt: skip


def measure(folder: Path, seed: int, quick: bool, keep: Collection[str]) -> list[dict[str, Any]]:
    import torch

    from evenfall_egru.loading import load_checkpoint
    from evenfall_stream import EventStreamClassifier, OnlineClassifier

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    count = 2_000 if quick else 1_000_000
    model, _ = load_checkpoint(inputs.CARD, "cpu")
    state: dict[str, Any] = {"cache": None, "token": torch.tensor([[1]])}

    def token(number: int) -> None:
        out = model(input_ids=state["token"], past_key_values=state["cache"], use_cache=True)
        state.update(cache=out.past_key_values, token=out.logits[:, -1:].argmax(-1))

    with torch.no_grad():
        tokens = growth(token, count)
    stream = OnlineClassifier(EventStreamClassifier(4, (16, 16), widths=(8, 16), depths=(1, 1),
                                                    strides=(4, 4), d_state=4).eval())  # fmt: skip
    piece = 500
    kind = torch.zeros(piece, 1)

    def events(number: int) -> None:
        t = (torch.arange(piece, dtype=torch.float64) + number * piece)[:, None] / 100
        stream.push(kind, torch.cat([t, torch.randint(16, (piece, 2)).double()], 1))
        stream.logits()

    return [
        row("EGRU, token by token", count, "tokens", tokens),
        row("STREAM, events as they come", count, "events", growth(events, count // piece)),
    ]
