"""Compare the speed of dense and event-driven generation, one token at a time."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..models.modeling_egru import EgruForCausalLM
from .streaming import greedy_loop


@dataclass(frozen=True)
class Speed:
    """Tokens per second of each mode, and whether both generate the same tokens."""

    dense: float
    event_driven: float
    same: bool


def compare(
    model: EgruForCausalLM, prompt: torch.Tensor, *, tokens: int = 100, rounds: int = 5
) -> Speed:
    """Time greedy generation with `config.event_driven` off and on.

    Model, weights and loop are the same; when off, the products are torch's dense ones. The two
    modes alternate, on one thread and on all of torch's, so that other load on the machine affects
    both. The result is the best round of each mode.

    Args:
        model: an EgruForCausalLM on the CPU.
        prompt: (1, N) ids, not timed.
        tokens: tokens per round, at least 2.
        rounds: rounds of each mode and number of threads.
    """
    setting, all_threads = model.config.event_driven, torch.get_num_threads()
    best = {False: 0.0, True: 0.0}
    ids: dict[bool, list[int]] = {}
    try:
        for number in range(rounds + 1):
            for threads in (all_threads, 1):
                torch.set_num_threads(threads)
                for event_driven in (False, True):
                    model.config.event_driven = event_driven
                    ids[event_driven], seconds = greedy_loop(model, prompt, tokens)
                    if number:  # round 0 compiles kernels and fills caches
                        best[event_driven] = max(best[event_driven], (tokens - 1) / seconds)
    finally:
        model.config.event_driven = setting
        torch.set_num_threads(all_threads)
    return Speed(best[False], best[True], ids[False] == ids[True])
