"""The loops that the benchmarks of generation time, and the models beside EGRU."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from evenfall_egru import EgruForCausalLM
from evenfall_egru.models.step_egru import TokenStep


class LstmLanguageModel(nn.Module):
    """Embedding, one nn.LSTM a layer, decoder tied to the embedding."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        sizes = [config.embedding_size, *config.hidden_sizes]
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_size)
        self.layers = nn.ModuleList(
            nn.LSTM(i, o, batch_first=True) for i, o in itertools.pairwise(sizes)
        )
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, ids: torch.Tensor, states: list[Any]) -> tuple[torch.Tensor, list[Any]]:
        x, new = self.embedding(ids), []
        for layer, state in zip(self.layers, states, strict=True):
            x, state = layer(x, state)
            new.append(state)
        return F.linear(x[:, -1], self.embedding.weight, self.bias), new


class LstmCellLanguageModel(nn.Module):
    """The same with one nn.LSTMCell a layer."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        sizes = [config.embedding_size, *config.hidden_sizes]
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_size)
        self.layers = nn.ModuleList(nn.LSTMCell(i, o) for i, o in itertools.pairwise(sizes))
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, ids: torch.Tensor, states: list[Any]) -> tuple[torch.Tensor, list[Any]]:
        for x in self.embedding(ids).unbind(1):
            new = []
            for layer, state in zip(self.layers, states, strict=True):
                x, c = layer(x, state)
                new.append((x, c))
            states = new
        return F.linear(x, self.embedding.weight, self.bias), new


def lstm_loop(model: Any, prompt: torch.Tensor, tokens: int) -> None:
    """Greedy generation with one of the models above."""
    logits, states = model(prompt, [None] * len(model.layers))
    for _ in range(tokens - 1):
        logits, states = model(logits.argmax(-1, keepdim=True), states)


def egru_loop(model: Any, prompt: torch.Tensor, tokens: int) -> None:
    """Greedy generation with plain calls of an EgruForCausalLM."""
    out = model(prompt, use_cache=True, logits_to_keep=1)
    cache = out.get("cache", out.get("past_key_values"))
    for _ in range(tokens - 1):
        ids = out.logits[:, -1].argmax(-1, keepdim=True)
        out = model(ids, past_key_values=cache, use_cache=True)


def generate(model: Any, prompt: torch.Tensor, tokens: int) -> None:
    """The same through transformers' generate()."""
    model.generate(
        prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=tokens,
        min_new_tokens=tokens, pad_token_id=0,
    )  # fmt: skip


def with_setting(
    loop: Callable[..., None], model: Any, name: str, value: Any
) -> Callable[..., None]:
    """The loop with a field of the model's configuration changed before."""

    def run(*arguments: Any) -> None:
        setattr(model.config, name, value)
        loop(model, *arguments)

    return run


def module_by_module(loop: Callable[..., None]) -> Callable[..., None]:
    """The loop without egru_step."""

    def run(*arguments: Any) -> None:
        with _without_token_step():
            loop(*arguments)

    return run


@contextmanager
def _without_token_step() -> Iterator[None]:
    run = TokenStep.run
    TokenStep.run = lambda *_: None  # type: ignore[method-assign,assignment,return-value]
    try:
        yield
    finally:
        TokenStep.run = run  # type: ignore[method-assign]


class Constant(EgruForCausalLM):
    """A model that computes nothing: what generate() itself takes."""

    answer: Any = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The output that was stored."""
        return self.answer


def constant(model: EgruForCausalLM, prompt: torch.Tensor) -> Constant:
    """A model that always returns the output of this one after the prompt."""
    found: Any = copy.copy(model)
    found.__class__ = Constant
    found.__dict__["answer"] = model(prompt, use_cache=True, logits_to_keep=1)
    return found
