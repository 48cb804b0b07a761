"""Token-by-token speed of a model, dense against event-driven, in one run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from .streaming import greedy_loop


@dataclass(frozen=True)
class Speed:
    """Tokens per second of each way, and whether both chose the same tokens."""

    dense: float
    event_driven: float
    same: bool


def compare(model: Any, prompt: torch.Tensor, *, tokens: int = 100, rounds: int = 5) -> Speed:
    """Time greedy generation with `config.event_driven` off and on.

    The same model, weights and loop; off, its products are torch's dense ones. Both ways run on
    one thread and on all of torch's, taking turns, so that another load on the machine meets each
    of them; the best round of each way counts.

    Args:
        model: an EgruForCausalLM on the CPU.
        prompt: (1, N) ids, not timed.
        tokens: tokens a round, at least 2.
        rounds: rounds of each way and number of threads.
    """
    configured, threads = model.config.event_driven, torch.get_num_threads()
    best = {False: 0.0, True: 0.0}
    chosen: dict[bool, list[int]] = {}
    try:
        for number in range(rounds + 1):
            for used in (threads, 1):
                torch.set_num_threads(used)
                for event_driven in (False, True):
                    model.config.event_driven = event_driven
                    chosen[event_driven], seconds = greedy_loop(model, prompt, tokens)
                    if number:  # the first round warms up: kernels compile, caches fill
                        best[event_driven] = max(best[event_driven], (tokens - 1) / seconds)
    finally:
        model.config.event_driven = configured
        torch.set_num_threads(threads)
    return Speed(best[False], best[True], chosen[False] == chosen[True])
