"""Continue a prompt with generate() and print the text word by word."""

from __future__ import annotations

import torch
from rich.console import Console
from transformers import PreTrainedTokenizerBase

from evenfall.errors import shorten
from evenfall.tokenizing import encoding

from ..models.modeling_egru import EgruForCausalLM
from ..text.tokenization import UNK
from .streaming import ConsoleStreamer


def unknown_words(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[str]:
    """The words of a prompt that are not in the tokenizer's vocabulary."""
    if tokenizer.unk_token_id is None:
        return []
    words = tokenizer.get_vocab()
    return [word for word in prompt.split() if word not in words]


def continue_prompt(
    model: EgruForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    console: Console,
    *,
    max_new_tokens: int = 60,
    temperature: float = 0.8,
    top_k: int = 40,
    seed: int = 0,
    greedy: bool = False,
) -> list[int]:
    """Print the prompt and its continuation; generate past line ends and never <unk>.

    Returns:
        The ids of the prompt and the continuation.

    Raises:
        ValueError: the tokenizer cannot encode the prompt, or the prompt is empty and the tokenizer
            has no eos_token.
    """
    with encoding():
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"] if prompt.strip() else None
    if ids is None or ids.numel() == 0:
        if tokenizer.eos_token_id is None:
            raise ValueError(
                f"prompt must have a token, got {shorten(prompt)}: the tokenizer has no eos_token "
                "to begin with"
            )
        ids = torch.tensor([[tokenizer.eos_token_id]])
    ids = ids.to(model.device)
    sampling = {} if greedy else {"temperature": temperature, "top_k": top_k}
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
        **sampling,
    )
    return out[0].tolist()
