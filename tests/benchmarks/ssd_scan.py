"""ssd_scan on the CPU against transformers' torch path, its own products, and in a whole model.

    python tests/benchmarks/ssd_scan.py [--quick] [--rounds 15] [--no-save]

The size of a layer of a Mamba-2 of 768: 24 heads of 64 channels, 128 states, one group, 2048 steps.
The model has 24 such layers with random weights, which changes nothing in the time.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from layout import by_part, key, table
from mamba import compare as before_and_after
from mamba import tasks
from record import Record, Rows
from script import finish, parser
from ssd_scan_parts.contenders import (
    CHUNK,
    HOST_CHUNK,
    OURS,
    PASSES,
    PRODUCTS,
    Size,
    inputs,
    products,
    scans,
)
from ssd_scan_parts.memory import compare as compare_memory
from timing import medians
from transformers import Mamba2Config, Mamba2ForCausalLM

TITLE = "The scan of Mamba-2"
ABOUT = (
    "`ssd_scan` is matrix products over chunks of steps. The first table has it in one run with "
    "the PyTorch path of `transformers` and with its *matrix products alone*: the same calls of "
    "the same sizes, on tensors that stay in the cache, with no decays, no loading and no output.\n"
    "\n"
    "The second is the peak of memory above the inputs. *Recorded* is the forward pass of "
    "training, which keeps what the backward pass needs.\n\n"
    "The third is a Mamba-2 of `transformers` before and after the patch."
)
MAIN: Size = (1, 2048, 24, 64, 128)
QUICK: Size = (1, 128, 4, 16, 16)
PROMPT, TOKENS, THREADS = 1024, 64, 2


def measure(size: Size, rounds: int) -> Rows:
    """Forward and both ways: our scan, transformers' and the products alone, timed in turn."""
    p, rows = inputs(size), []
    for what in ("forward", "forward + backward"):
        functions = {name: PASSES[what](scan, p) for name, scan in scans().items()}
        functions[PRODUCTS] = products(size, what != "forward")
        seconds = medians(functions, rounds)
        names = ("batch", "length", "heads", "channels", "states")
        rows += [
            {"part": "scan", "what": name, "pass": what,
             **dict(zip(names, size, strict=True)), "ms": found * 1e3,
             "times_evenfall": found / seconds[OURS],
             "evenfall_over_this": seconds[OURS] / found}
            for name, found in seconds.items()
        ]  # fmt: skip
    return rows


@torch.no_grad()
def model_rows(quick: bool, rounds: int) -> Rows:
    """A prompt and single tokens, unpatched and patched."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 768, "num_hidden_layers": 24, "vocab_size": 50280, "num_heads": 24,
        "head_dim": 64, "state_size": 128, "n_groups": 1,
    }  # fmt: skip
    if quick:
        sizes |= {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 100, "num_heads": 4,
                  "head_dim": 16, "state_size": 16}  # fmt: skip
    model = Mamba2ForCausalLM(Mamba2Config(**sizes)).eval()
    work = tasks(model, *((40, 4) if quick else (PROMPT, TOKENS)))
    return [row | {"part": "model"} for row in before_and_after(work, rounds)]


def tables(record: Record) -> str:
    """Time, memory, and the model."""
    scan = {
        "Pass": key("pass"),
        "What": key("what"),
        "ms": key("ms"),
        "Times `ssd_scan`": key("times_evenfall"),
        "`ssd_scan` / this": key("evenfall_over_this"),
    }
    memory = {
        "Pass": key("pass"),
        "What": key("what"),
        "Steps": key("length"),
        "Peak, MiB": key("peak_mib"),
        "Times `ssd_scan`": key("times_evenfall"),
    }
    model = {
        "Task": key("task"),
        "Before, ms": key("before_ms"),
        "After, ms": key("after_ms"),
        "Times faster": key("times_faster"),
    }
    parts = by_part(record)
    shown = (("scan", scan), ("memory", memory), ("model", model))
    return "\n\n".join(table(columns, parts[name]) for name, columns in shown if name in parts)


def main() -> None:
    options = parser(__doc__, rounds=15, quick=True).parse_args()
    torch.set_num_threads(THREADS)
    size, rounds = (QUICK, 1) if options.quick else (MAIN, options.rounds)
    rows = measure(size, rounds)
    rows += compare_memory(128 if options.quick else MAIN[1])
    rows += model_rows(options.quick, 1 if options.quick else 3)
    notes = (
        f"float32, {THREADS} threads, medians of {rounds} taken in turn; softplus, bias and skip "
        f"included. A Mamba2Config that names no chunk has one of {HOST_CHUNK} steps; ours is "
        f"{CHUNK}. Peak memory is what a process of its own needs above the inputs. The model is "
        "Mamba2ForCausalLM of 24 layers of 768 with a vocabulary of 50280, batch 1; patched: "
        "medians of 3, unpatched: one. Load average of the machine after measuring: "
        f"{os.getloadavg()[0]:.1f}."
    )
    finish("ssd_scan", rows, options, notes)


if __name__ == "__main__":
    main()
