"""Compare the greedy text and the speed of a language model and its compressed form."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import Any

import torch

from evenfall.checks import check_integer

from .convert import compress
from .report import Compression


@dataclass(frozen=True)
class Comparison:
    """One prompt, answered by both models.

    Attributes:
        compression: what `compress` did.
        tokens, tokens_compressed: the ids of prompt and answer.
        speed, speed_compressed: tokens a second of generate(), the best of the rounds.
    """

    compression: Compression
    tokens: list[int]
    tokens_compressed: list[int]
    speed: float
    speed_compressed: float

    @property
    def same(self) -> bool:
        """Whether both wrote the same tokens."""
        return self.tokens == self.tokens_compressed


def compare_text(
    model: Any, ids: torch.Tensor, *, tokens: int = 100, rounds: int = 5, exact: bool = True
) -> Comparison:
    """Generate greedily with a model and a compressed copy of it, in turns, on one thread.

    Args:
        model: a transformers model with generate(), on the CPU.
        ids: (1, N), the prompt.
        tokens: tokens of each answer.
        rounds: how often each model answers, after one round that compiles and warms up.
        exact: as in `compress`.

    Raises:
        ValueError: tokens or rounds is no positive integer, or as `compress`.
    """
    check_integer("tokens", tokens, 1)
    check_integer("rounds", rounds, 1)
    small = copy.deepcopy(model)
    result = compress(small, {"input_ids": ids}, exact=exact)
    threads = torch.get_num_threads()
    best = [0.0, 0.0]
    answers: list[list[int]] = [[], []]
    options = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False}
    try:
        torch.set_num_threads(1)
        for number in range(rounds + 1):
            for which, one in enumerate((model, small)):
                start = time.perf_counter()
                found = one.generate(ids, attention_mask=torch.ones_like(ids), **options)
                seconds = time.perf_counter() - start
                answers[which] = found[0].tolist()
                best[which] = max(best[which], tokens / seconds if number else 0.0)
    finally:
        torch.set_num_threads(threads)
    return Comparison(result, answers[0], answers[1], best[0], best[1])
