"""Speed of the emulator: a trained model, and the sizes of the published one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from spinnaker2_parts.language import CARDS
from spinnaker2_parts.published import EMBEDDING, EVERY_UNIT, LARGE, PUBLISHED
from spinnaker2_parts.sweep import graph

from evenfall_spinnaker2 import Emulator, compile

TOKENS, ROUNDS = 100, 7


def rate(emulator: Emulator, tokens: Any) -> float:
    """Tokens a second of CPU time while generating, the median of some rounds on one thread."""
    emulator.run(tokens[:2], pipelined=False)
    seconds = []
    for _ in range(ROUNDS):
        started = time.thread_time()
        emulator.run(tokens, pipelined=False)
        seconds.append(time.thread_time() - started)
    return len(tokens) / float(np.median(seconds))


def speed(options: Any, folder: Path) -> Iterator[dict[str, Any]]:
    """Tokens in a second of trained models, and of the published sizes with 5 % of the weights."""
    tokens = np.random.default_rng(0).integers(0, 10_000, TOKENS)
    large = graph(EMBEDDING, PUBLISHED, 0.05)
    models: dict[str, tuple[Any, dict[str, Any]]] = {
        name: (CARDS / name, {}) for name in options.models
    }
    models[LARGE] = (large, {"queue_depth": EVERY_UNIT})
    for name, (model, settings) in models.items():
        for mode in ("events", "gather"):
            emulator = Emulator(compile(model, folder / name / mode, mode=mode, **settings))
            run = emulator.run(tokens)
            layers = [one for one in emulator.populations if one.pes is not None]
            events = sum(run.events[one.name].mean() for one in layers)
            yield {
                "part": "speed", "model": name, "mode": mode, "PEs": len(emulator.image.blobs),
                "activity": float(events / sum(one.units for one in layers)),
                "tokens a CPU second": rate(emulator, tokens),
            }  # fmt: skip
