"""Tokens per second of greedy generation: the shipped EGRU against an nn.LSTM of the same sizes.

    python tests/benchmarks/generate.py [--rounds 9] [--no-save]

All run the same loop: one token in, logits out, the largest one next; batch 1. EGRU is timed with
its events and with dense products, in a plain loop and through transformers' generate(), and with
the modules called one by one instead of in one call. The LSTM has the same embedding, layers and
tied decoder; its weights are random, which changes nothing in its time.
"""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path

import torch
from generate_parts.loops import (
    LstmLanguageModel,
    constant,
    egru_loop,
    generate,
    lstm_loop,
    module_by_module,
    with_setting,
)
from layout import BLUE, GREEN, ORANGE, key, pyplot, table
from record import Record, Rows
from script import finish, parser
from timing import medians
from transformers import AutoModelForCausalLM

TITLE = "Generating text"
ABOUT = (
    "One token in, the likeliest next token out, for the published checkpoint and for an `nn.LSTM` "
    "of the same sizes. With events, the arithmetic of a token takes a fraction of a millisecond, "
    "and a token is one compiled call; module by module, Python between the operators takes longer "
    "than the arithmetic. `generate()` takes most of its time by itself: a model that returns a "
    "constant shows it."
)
IMAGE, ALT = "generate.svg", "Tokens a second of each model and number of threads"
CHECKPOINT = Path(__file__).parents[2] / "hub_cards" / "egru-ptb-small"
PROMPT, TOKENS = 16, 100
LSTM, CONSTANT = "nn.LSTM, same sizes", "a constant, generate()"
NOTES = f"{PROMPT} prompt tokens and {TOKENS} generated ones, batch 1, medians in one process."


@torch.no_grad()
def measure(threads: int, rounds: int) -> Rows:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(CHECKPOINT).eval()
    tabled = copy.deepcopy(model)
    tabled.config.input_table = True
    lstm = LstmLanguageModel(model.config).eval()
    prompt = torch.randint(0, model.config.vocab_size, (1, PROMPT))
    ways = {LSTM: partial(lstm_loop, lstm)}
    for end, loop in (("", egru_loop), (", generate()", generate)):
        events = with_setting(loop, model, "event_driven", True)
        ways |= {
            f"EGRU, dense products{end}": with_setting(loop, model, "event_driven", False),
            f"EGRU, events, module by module{end}": module_by_module(events),
            f"EGRU, events{end}": events,
            f"EGRU, events, input table{end}": partial(loop, tabled),
        }
    ways[CONSTANT] = partial(generate, constant(model, prompt))
    seconds = medians({name: partial(way, prompt, TOKENS) for name, way in ways.items()}, rounds)
    return [
        {
            "threads": threads,
            "way": name,
            "tokens_per_second": TOKENS / found,
            "times_the_LSTM": seconds[LSTM] / found,
            "us_above_generate": 1e6 * (found - seconds[CONSTANT]) / TOKENS
            if name.endswith("generate()")
            else None,
        }
        for name, found in seconds.items()
    ]


def tables(record: Record) -> str:
    columns = {
        "Threads": key("threads"),
        "Model": key("way"),
        "Tokens a second": key("tokens_per_second"),
        "Times the LSTM": key("times_the_LSTM"),
        "µs a token above generate()": key("us_above_generate"),
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
