"""One token of a large EGRU in one compiled call, against LSTMs of the same sizes.

    python tests/benchmarks/egru_step.py [--rounds 9] [--no-save]

Three layers 750 -> 1350 -> 1350 -> 750 and a decoder of 10,000 words, the sizes of the EGRU paper.
Weights are random, since only their number counts. Of each pruned matrix, blocks of 1 x 16 chosen
at random are kept. The thresholds set the activity of each layer, which is measured as well.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from generate_parts.loops import (
    LstmCellLanguageModel,
    LstmLanguageModel,
    module_by_module,
    with_setting,
)
from layout import key, percent, table
from record import Record, Rows
from script import finish, parser
from timing import medians
from torch import Tensor
from transformers import DynamicCache

from evenfall_egru import EgruConfig, EgruForCausalLM
from evenfall_kernels import StoredMatrix, compress_blocks

TITLE = "One token of a large EGRU"
ABOUT = (
    "Three layers 750 → 1350 → 1350 → 750 and a decoder of 10,000 words, about 10 % of the units "
    "active. `egru_step` runs a token in one compiled call: with dense matrices, with 90 % of the "
    "layers' matrices removed in blocks of 1 x 16, and with 90 % of the decoder removed as well."
)
SIZES = {"vocab_size": 10_000, "embedding_size": 750, "hidden_sizes": [1350, 1350, 750]}
KEPT, BLOCK, ACTIVITY = 0.1, 16, 0.1
TOKENS = 50
NOTES = (
    f"{TOKENS} random tokens read one at a time in a plain loop, the likeliest next one picked "
    "after each; batch 1, random weights, medians in one process. Activity is that of the last 40."
)


def prune_blocks(matrix: Tensor, gates: int) -> None:
    """Keep a share of the 1 x 16 blocks of each gate of (I, gates H), chosen at random."""
    inputs, outputs = matrix.shape
    units = outputs // gates
    kept = torch.rand(inputs, gates, -(-units // BLOCK)) < KEPT
    matrix *= kept.repeat_interleave(BLOCK, 2)[:, :, :units].reshape(inputs, outputs)
    matrix /= KEPT**0.5  # the same variance of the sums


def set_activity(model: EgruForCausalLM) -> None:
    """Set the thresholds, the same for all units of a layer, so that about a tenth are events."""
    ids = torch.randint(0, SIZES["vocab_size"], (1, 64))
    for index, layer in enumerate(model.model.layers):
        low, high = 0.0, 1.0
        for _ in range(10):
            layer.threshold.fill_((low + high) / 2)
            events = model(ids, output_events=True).events[index]
            share = float(events[:, 32:].mean())  # at first, the state is still empty
            middle = (low + high) / 2
            low, high = (middle, high) if share > ACTIVITY else (low, middle)


def make_model(pruned: bool = False, decoder: bool = False) -> EgruForCausalLM:
    """A model with dense matrices, or with blocks in the layers' matrices and the decoder's."""
    torch.manual_seed(0)
    model = EgruForCausalLM(EgruConfig(**SIZES, tie_word_embeddings=False)).eval()
    layers = model.model.layers
    if pruned:
        for layer in layers:
            prune_blocks(layer.kernel, 3)
            prune_blocks(layer.recurrent_kernel, 3)
    set_activity(model)
    for layer in layers if pruned else ():
        for name in ("kernel", "recurrent_kernel"):
            _store(layer, name, getattr(layer, name))
    if decoder:
        by_unit = model.lm_head.weight.t().contiguous()
        prune_blocks(by_unit, 1)
        _store(model.lm_head, "weight", by_unit)
    return model


def _store(module: Any, name: str, matrix: Tensor) -> None:
    stored = StoredMatrix(compress_blocks(matrix, BLOCK))
    delattr(module, name)
    setattr(module, name, stored)


def read_with_egru(model: EgruForCausalLM, ids: Tensor) -> None:
    """Read tokens one at a time and pick the likeliest next one after each.

    That one is not read: with random weights it would soon be always the same.
    """
    cache = DynamicCache(config=model.config)
    for index in range(ids.shape[1]):
        out = model(ids[:, index : index + 1], past_key_values=cache, use_cache=True)
        out.logits[:, -1].argmax(-1)


def share_of_events(model: EgruForCausalLM, ids: Tensor) -> float:
    """The share of active units over all layers, once the state is filled."""
    cache, shares = DynamicCache(config=model.config), []
    for index in range(ids.shape[1]):
        model(ids[:, index : index + 1], past_key_values=cache, use_cache=True)
        fired = [layer.keys != 0 for layer in cache.layers]
        shares.append(torch.cat(fired, 1).float().mean())
    return float(torch.stack(shares[10:]).mean())


def read_with_lstm(model: Any, ids: Tensor) -> None:
    """The same with an LSTM."""
    states: list[Any] = [None] * len(model.layers)
    for index in range(ids.shape[1]):
        logits, states = model(ids[:, index : index + 1], states)
        logits.argmax(-1)


@torch.no_grad()
def measure(threads: int, rounds: int) -> Rows:
    torch.set_num_threads(threads)
    dense, blocks, all_blocks = make_model(), make_model(True), make_model(True, True)
    lstm, cells = LstmLanguageModel(dense.config).eval(), LstmCellLanguageModel(dense.config).eval()
    ids = torch.randint(0, SIZES["vocab_size"], (1, TOKENS))
    events = with_setting(read_with_egru, dense, "event_driven", True)
    ways = {
        "nn.LSTM": partial(read_with_lstm, lstm),
        "nn.LSTMCell": partial(read_with_lstm, cells),
        "EGRU, dense products": with_setting(read_with_egru, dense, "event_driven", False),
        "EGRU, rows that fired, module by module": module_by_module(events),
        "EGRU, rows that fired": events,
        "EGRU, blocks in the layers": partial(read_with_egru, blocks),
        "EGRU, blocks in layers and decoder": partial(read_with_egru, all_blocks),
    }
    models = {"layers": blocks, "decoder": all_blocks}
    seconds = medians({name: partial(way, ids) for name, way in ways.items()}, rounds)
    lstm_seconds = min(seconds["nn.LSTM"], seconds["nn.LSTMCell"])
    rows: Rows = []
    for name, found in seconds.items():
        model = models.get(name.rpartition(" ")[2], dense)
        rows.append({
            "threads": threads,
            "way": name,
            "activity": share_of_events(model, ids) if "EGRU" in name else None,
            "tokens_per_second": TOKENS / found,
            "times_the_faster_LSTM": lstm_seconds / found,
            "times_dense_rows": seconds["EGRU, rows that fired"] / found,
        })  # fmt: skip
    return rows


def tables(record: Record) -> str:
    share = percent("activity")
    columns = {
        "Threads": key("threads"),
        "Model": key("way"),
        "Active": lambda row: None if row["activity"] is None else share(row),
        "Tokens a second": key("tokens_per_second"),
        "Times the faster LSTM": key("times_the_faster_LSTM"),
        "Times rows that fired": key("times_dense_rows"),
    }
    return table(columns, record["rows"])


def main() -> None:
    options = parser(__doc__, rounds=9).parse_args()
    rows = [row for threads in (1, 2) for row in measure(threads, options.rounds)]
    finish("egru_step", rows, options, NOTES)


if __name__ == "__main__":
    main()
