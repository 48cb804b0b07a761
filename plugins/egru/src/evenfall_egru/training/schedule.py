"""The learning rate over the steps of a run."""

from __future__ import annotations

import math


def rate_factor(step: int, total: int, schedule: str, warmup: int = 0, start: int = 0) -> float:
    """The factor of the learning rate at a step.

    It rises linearly from 0 to 1 during the warm-up. "constant" stays at 1; "cosine" stays at 1
    until `start`, then falls to 0 at the last step.

    Args:
        step: steps that are done.
        total: steps of the run.
        schedule: "cosine" or "constant".
        warmup: steps of the warm-up.
        start: step at which the cosine starts; not before the end of the warm-up.
    """
    if step < warmup:
        return step / max(1, warmup)
    start = max(warmup, start)
    if schedule == "constant" or step < start:
        return 1.0
    progress = (step - start) / max(1, total - start)
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))
