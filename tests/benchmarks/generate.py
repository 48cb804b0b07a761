"""Tokens per second of greedy generation: the shipped EGRU against an nn.LSTM of the same sizes.

    python tests/benchmarks/generate.py [--rounds 9] [--no-save]

Both run the same loop: one token in, logits out, the largest one next; batch 1. EGRU is timed with
its events and with dense products, and through transformers' generate() besides. The LSTM has the
same embedding, layers and tied decoder; its weights are random, which changes nothing in its time.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from layout import BLUE, GREEN, ORANGE, key, pyplot, table
from record import Record, Rows
from script import finish, parser
from timing import medians
from transformers import AutoModelForCausalLM

TITLE = "Generating text"
ABOUT = (
    "One token in, the likeliest next token out, for the published checkpoint and for an `nn.LSTM` "
    "of the same sizes. With events, the arithmetic of a token takes a fraction of a millisecond. "
    "The rest is Python between the operators, which the Xeon runs more slowly than the EPYC, "
    "while the LSTM waits for memory on both."
)
IMAGE, ALT = "generate.svg", "Tokens a second of each model and number of threads"
CHECKPOINT = Path(__file__).parents[2] / "hub_cards" / "egru-ptb-small"
PROMPT, TOKENS = 16, 100
NOTES = f"{PROMPT} prompt tokens and {TOKENS} generated ones, batch 1, medians in one process."


class LstmLanguageModel(torch.nn.Module):
    """Embedding, one nn.LSTM a layer, decoder tied to the embedding."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        sizes = [config.embedding_size, *config.hidden_sizes]
        self.embedding = torch.nn.Embedding(config.vocab_size, config.embedding_size)
        self.layers = torch.nn.ModuleList(
            torch.nn.LSTM(i, o, batch_first=True) for i, o in itertools.pairwise(sizes)
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
def measure(threads: int, rounds: int) -> Rows:
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
            "tokens_per_second": TOKENS / found,
            "times_the_LSTM": base / found,
        }
        for name, found in seconds.items()
    ]


def tables(record: Record) -> str:
    columns = {
        "Threads": key("threads"),
        "Model": key("way"),
        "Tokens a second": key("tokens_per_second"),
        "Times the LSTM": key("times_the_LSTM"),
    }
    return table(columns, record["rows"])


def picture(rows: Rows) -> None:
    """Tokens a second, one group of bars a model, one colour a number of threads."""
    plt = pyplot()
    ways = list(dict.fromkeys(row["way"] for row in rows))[::-1]
    threads = list(dict.fromkeys(row["threads"] for row in rows))
    _, axes = plt.subplots(figsize=(7.5, 0.9 + 0.55 * len(ways)))
    height = 0.8 / len(threads)
    for index, (count, colour) in enumerate(zip(threads, (BLUE, ORANGE, GREEN), strict=False)):
        speed = {row["way"]: row["tokens_per_second"] for row in rows if row["threads"] == count}
        places = [i + 0.4 - (index + 0.5) * height for i in range(len(ways))]
        drawn = axes.barh(places, [speed.get(way, 0) for way in ways], height, color=colour,
                          label=f"{count} thread{'s' * (count > 1)}")  # fmt: skip
        axes.bar_label(drawn, fmt="%.0f", padding=2, fontsize=8)
    axes.set_yticks(range(len(ways)), ways)
    axes.set_xlabel("tokens a second")
    axes.margins(x=0.12)
    axes.legend(fontsize=8, loc="lower right")


def main() -> None:
    options = parser(__doc__, rounds=9).parse_args()
    rows = [row for threads in (1, 2) for row in measure(threads, options.rounds)]
    finish("generate", rows, options, NOTES)


if __name__ == "__main__":
    main()
