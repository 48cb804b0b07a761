"""Continuing a prompt with generate(), shown as it comes."""

from __future__ import annotations

from typing import Any

import torch
from rich.console import Console

from ..text.tokenization import UNK
from .streaming import ConsoleStreamer


def unknown_words(tokenizer: Any, prompt: str) -> list[str]:
    """The words of a prompt that the tokenizer knows only as <unk>."""
    if tokenizer.unk_token_id is None:
        return []
    known = tokenizer.get_vocab()
    return [word for word in prompt.split() if word not in known]


def write_on(
    model: Any,
    tokenizer: Any,
    prompt: str,
    console: Console,
    *,
    max_new_tokens: int = 60,
    temperature: float = 0.8,
    top_k: int = 40,
    seed: int = 0,
    greedy: bool = False,
) -> list[int]:
    """Generate past line ends, never <unk>, and stream prompt and text to a console.

    Returns:
        The ids, the prompt's first.
    """
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"] if prompt.strip() else None
    if ids is None or ids.numel() == 0:
        ids = torch.tensor([[tokenizer.eos_token_id]])
    ids = ids.to(model.device)
    drawing = {} if greedy else {"temperature": temperature, "top_k": top_k}
    unknown = tokenizer.get_vocab().get(UNK)
    torch.manual_seed(seed)
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=max_new_tokens,
        do_sample=not greedy,
        eos_token_id=None,
        pad_token_id=tokenizer.eos_token_id,
        suppress_tokens=None if unknown is None else [unknown],
        streamer=ConsoleStreamer(tokenizer, console),
        **drawing,
    )
    return out[0].tolist()
