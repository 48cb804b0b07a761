"""Tokens a second, one at a time and as a prompt; forms take turns in one process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from egru_int8_parts.forms import CARD, Folders
from egru_step import read_with_egru
from generate_parts.loops import egru_loop, generate
from timing import medians
from transformers import AutoModelForCausalLM

PROMPT, TOKENS, LONG = 16, 100, 256


@torch.no_grad()
def speed(folders: Folders, rounds: int) -> Iterator[dict[str, Any]]:
    torch.set_num_threads(1)
    for name, forms in folders.items():
        models = {f: AutoModelForCausalLM.from_pretrained(p).eval() for f, p in forms.items()}
        words = models["float32"].config.vocab_size
        ids = torch.randint(words, (1, LONG), generator=torch.Generator().manual_seed(0))
        for loop, (run, tokens) in loops(name, ids).items():
            calls = {form: partial(run, model) for form, model in models.items()}
            seconds = medians(calls, rounds)
            for form, found in seconds.items():
                yield {"part": "speed", "model": name, "loop": loop, "weights": form,
                       "tokens_per_second": tokens / found,
                       "times_float32": seconds["float32"] / found}  # fmt: skip


def loops(name: str, ids: torch.Tensor) -> dict[str, tuple[Callable[[Any], object], int]]:
    """What is timed, and how many tokens it reads or writes."""
    prompt, some = ids[:, :PROMPT], ids[:, :TOKENS]
    found: dict[str, tuple[Callable[[Any], object], int]] = {
        f"prompt of {LONG} tokens": (lambda m: m(ids, logits_to_keep=1), LONG)
    }
    if name == CARD.name:
        found["plain loop"] = lambda m: egru_loop(m, prompt, TOKENS), TOKENS
        found["generate()"] = lambda m: generate(m, prompt, TOKENS), TOKENS
    else:  # random weights soon write the same word again and again
        found["reading one at a time"] = lambda m: read_with_egru(m, some), TOKENS
    return found
