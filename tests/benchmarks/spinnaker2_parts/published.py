"""The sizes of the published language model on the chip: processing elements, memory, time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from spinnaker2_parts.sweep import graph
from timing import peak_mib

from evenfall_spinnaker2 import Emulator, compile

EMBEDDING, PUBLISHED = 750, (1350, 1350, 1350)
"""Width of the embedding and hidden sizes of the published language model on the chip."""
LARGE = "3 x 1350, 95 % pruned at random"
EVERY_UNIT = EMBEDDING + max(PUBLISHED)
"""A queue of this depth takes an event of every source at once."""

CASES: dict[str, dict[str, Any]] = {
    "fp32, a queue of 1,024 events": {},
    "fp32, a queue for every unit": {"queue_depth": EVERY_UNIT},
    "bf16": {"precision": "bf16"},
    "profile published": {"profile": "published"},
}


def published(options: Any, folder: Path) -> Iterator[dict[str, Any]]:
    """Processing elements and memory of random weights at the published density. Matrices are
    weights, indices and pointers, the mean of the processing elements of the second layer."""
    large = graph(EMBEDDING, PUBLISHED, 0.05)
    for number, (name, settings) in enumerate(CASES.items()):
        started = time.process_time()
        image = compile(large, folder / str(number), **settings)
        seconds = time.process_time() - started
        blobs = Emulator(image).image.blobs
        second = [blob for blob in blobs if blob.level == 2]
        matrices = [
            sum(part.nbytes for one in blob.projections
                for part in (one.weights, one.indices, one.pointers) if part is not None)
            for blob in second
        ]  # fmt: skip
        yield {
            "part": "published", "model": f"{LARGE}, {name}", "PEs": len(blobs),
            "kB of matrices a PE": float(np.mean(matrices)) / 1000, "CPU seconds": seconds,
            "peak MiB": peak_mib(),
        }  # fmt: skip
