"""Tokens per second of greedy generation: the shipped EGRU against an nn.LSTM of the same sizes.

    python tests/benchmarks/bench_generate.py [--no-save] [--name NAME]

NAME is that of the record, for a second machine beside the first.

Both run the same loop: one token in, logits out, the largest one next; batch 1. EGRU is timed with
its events and with dense products, and through transformers' generate() besides. The LSTM has the
same embedding, layers and tied decoder; its weights are random, which changes nothing in its time.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from record import save, table
from timing import medians
from transformers import AutoModelForCausalLM

CHECKPOINT = Path(__file__).parents[2] / "hub_cards" / "egru-ptb-small"
PROMPT, TOKENS = 16, 100
NAME = "generate"


class LstmLanguageModel(torch.nn.Module):
    """Embedding, one nn.LSTM a layer, decoder tied to the embedding."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        sizes = [config.embedding_size, *config.hidden_sizes]
        self.embedding = torch.nn.Embedding(config.vocab_size, config.embedding_size)
        self.layers = torch.nn.ModuleList(
            torch.nn.LSTM(i, o, batch_first=True) for i, o in zip(sizes, sizes[1:], strict=False)
        )
        self.bias = torch.nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, ids: torch.Tensor, states: list[Any]) -> tuple[torch.Tensor, list[Any]]:
        x, new = self.embedding(ids), []
        for layer, state in zip(self.layers, states, strict=True):
            x, state = layer(x, state)
            new.append(state)
        return F.linear(x[:, -1], self.embedding.weight, self.bias), new


def lstm_loop(model: LstmLanguageModel, prompt: torch.Tensor, tokens: int) -> None:
    logits, states = model(prompt, [None] * len(model.layers))
    for _ in range(tokens - 1):
        logits, states = model(logits.argmax(-1, keepdim=True), states)


def egru_loop(model: Any, prompt: torch.Tensor, tokens: int, event_driven: bool) -> None:
    model.config.event_driven = event_driven
    out = model(prompt, use_cache=True, logits_to_keep=1)
    for _ in range(tokens - 1):
        out = model(
            out.logits[:, -1].argmax(-1, keepdim=True), past_key_values=out.past_key_values,
            use_cache=True,
        )  # fmt: skip


def generate(model: Any, prompt: torch.Tensor, tokens: int, event_driven: bool) -> None:
    model.config.event_driven = event_driven
    model.generate(
        prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=tokens,
        min_new_tokens=tokens, pad_token_id=0,
    )  # fmt: skip


@torch.no_grad()
def measure(threads: int, rounds: int) -> list[dict[str, Any]]:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(CHECKPOINT).eval()
    lstm = LstmLanguageModel(model.config).eval()
    prompt = torch.randint(0, model.config.vocab_size, (1, PROMPT))
    ways = {
        "nn.LSTM, same sizes": lambda: lstm_loop(lstm, prompt, TOKENS),
        "EGRU, dense products": lambda: egru_loop(model, prompt, TOKENS, False),
        "EGRU, events": lambda: egru_loop(model, prompt, TOKENS, True),
        "EGRU, dense, generate()": lambda: generate(model, prompt, TOKENS, False),
        "EGRU, events, generate()": lambda: generate(model, prompt, TOKENS, True),
    }
    seconds = medians(ways, rounds)
    base = seconds["nn.LSTM, same sizes"]
    return [
        {
            "threads": threads,
            "way": name,
            "tokens_per_second": TOKENS / taken,
            "times_the_LSTM": base / taken,
        }
        for name, taken in seconds.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--name", default=NAME, help="of the record in docs/benchmarks")
    parser.add_argument("--no-save", action="store_true", help="do not write docs/benchmarks")
    arguments = parser.parse_args()
    rows = [row for threads in (1, 2) for row in measure(threads, arguments.rounds)]
    table(f"Greedy generation of {TOKENS} tokens, batch 1, medians", rows)
    if not arguments.no_save:
        named = "" if arguments.name == NAME else f" --name {arguments.name}"
        save(
            arguments.name, rows, f"python tests/benchmarks/bench_generate.py{named}",
            f"{PROMPT} prompt tokens and {TOKENS} generated ones, batch 1, medians in one process.",
        )  # fmt: skip


if __name__ == "__main__":
    main()
