"""Text as it is generated, and the bare loop that speed is measured with."""

from __future__ import annotations

import re
import time
from typing import Any

import torch
from rich.console import Console
from transformers import DynamicCache, PreTrainedTokenizerBase
from transformers.generation.streamers import BaseStreamer

from ..text.tokenization import EOS


class ConsoleStreamer(BaseStreamer):
    """Writes each token to a console as it comes; <eos> becomes a line break."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, console: Console) -> None:
        self.tokenizer, self.console = tokenizer, console
        self.shown = ""
        self.ids: list[int] = []

    def put(self, value: torch.Tensor) -> None:
        """Take the next ids, a whole prompt or one token."""
        self.ids += value.flatten().tolist()
        text = as_text(self.tokenizer, self.ids)
        if text.endswith("\N{REPLACEMENT CHARACTER}"):
            return  # a byte tokenizer is amid a character
        self.console.out(text[len(self.shown) :], end="", highlight=False)
        self.shown = text

    def end(self) -> None:
        """Finish the line."""
        self.console.out("")


def as_text(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    """Decoded ids with a line break for each <eos>."""
    return re.sub(f" ?{EOS} ?", "\n", tokenizer.decode(ids))


@torch.no_grad()
def greedy_loop(model: Any, prompt: torch.Tensor, tokens: int) -> tuple[list[int], float]:
    """The most likely token, over and over, by bare calls of the model with a cache.

    Args:
        model: an EgruForCausalLM.
        prompt: (1, N) ids.
        tokens: how many to generate.

    Returns:
        The tokens, and the seconds all but the first of them took: the prompt is not timed.
    """
    cache = DynamicCache(config=model.config)
    step = model(prompt, past_key_values=cache, logits_to_keep=1).logits[:, -1].argmax(-1)
    generated = [step]
    begin = time.perf_counter()
    for _ in range(tokens - 1):
        out = model(step[:, None], past_key_values=cache, logits_to_keep=1)
        step = out.logits[:, -1].argmax(-1)
        generated.append(step)
    ids = torch.cat(generated).tolist()
    return ids, time.perf_counter() - begin
