"""A streamer that prints generated text, and a plain greedy loop to measure speed."""

from __future__ import annotations

import re
import time

import torch
from rich.console import Console
from transformers import DynamicCache, PreTrainedTokenizerBase
from transformers.generation.streamers import BaseStreamer

from ..models.modeling_egru import EgruForCausalLM
from ..text.tokenization import EOS


class ConsoleStreamer(BaseStreamer):
    """Prints each token when it is generated; <eos> becomes a line break."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, console: Console) -> None:
        self.tokenizer, self.console = tokenizer, console
        self.text = ""
        self.ids: list[int] = []

    def put(self, value: torch.Tensor) -> None:
        """Print the next ids: a prompt or one token."""
        self.ids += value.flatten().tolist()
        text = as_text(self.tokenizer, self.ids)
        if text.endswith("\N{REPLACEMENT CHARACTER}"):
            return  # in the middle of a character of several bytes
        self.console.out(text[len(self.text) :], end="", highlight=False)
        self.text = text

    def end(self) -> None:
        """Print what is left, such as a part of a character, and end the line."""
        self.console.out(as_text(self.tokenizer, self.ids)[len(self.text) :], highlight=False)


def as_text(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    """Decode ids, with a line break for each <eos> and no space before the first word."""
    text = tokenizer.decode(ids)
    if tokenizer.unk_token is None:  # in bytes, a space is text
        return text.replace(EOS, "\n")
    return re.sub(f" ?{EOS} ?", "\n", text).removeprefix(" ")


@torch.no_grad()
def greedy_loop(
    model: EgruForCausalLM, prompt: torch.Tensor, tokens: int
) -> tuple[list[int], float]:
    """Generate the most likely tokens by plain calls of the model with a cache.

    Args:
        model: an EgruForCausalLM.
        prompt: (1, N) ids.
        tokens: how many to generate.

    Returns:
        The tokens, and the seconds for all but the first of them: the prompt is not timed.
    """
    cache = DynamicCache(config=model.config)
    step = model(prompt, past_key_values=cache, logits_to_keep=1).logits[:, -1].argmax(-1)
    steps = [step]
    begin = time.perf_counter()
    for _ in range(tokens - 1):
        out = model(step[:, None], past_key_values=cache, logits_to_keep=1)
        step = out.logits[:, -1].argmax(-1)
        steps.append(step)
    ids = torch.cat(steps).tolist()
    return ids, time.perf_counter() - begin
