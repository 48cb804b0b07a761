"""The time of one step, as it is and compiled."""

from __future__ import annotations

import json
import sys
from time import process_time

import torch
from record import Rows
from timing import medians

from .steps import CASES, make, make_step

TIMED = {"resnet18": 8, "resnet50": 4, "vit_small_patch16_224": 4, "gpt2": 2}
SAMPLED = ("bll", 8, 256)
"""Rule, blocks and random tokens that a block scores beside those of the batch."""


def time(quick: bool, rounds: int) -> Rows:
    """The median seconds of the processor of each case, in turn."""
    torch.set_num_threads(1)
    batches = {name: 2 if quick else batch for name, batch in TIMED.items()}
    plain = [(*case, None) for case in CASES]
    cases = {name: [*plain, SAMPLED] if name == "gpt2" else plain for name in batches}
    steps = {
        name: {str(case): make_step(make(name, *case, quick), name, batch) for case in cases[name]}
        for name, batch in batches.items()
    }
    print("built", file=sys.stderr, flush=True)
    rows = []
    for name, batch in batches.items():
        found = medians(steps[name], rounds, process_time)
        for case in cases[name]:
            seconds = found[str(case)]
            rule, blocks, samples = case
            rows.append(
                {
                    "part": "time", "model": name, "rule": rule, "blocks": blocks,
                    "samples": samples, "batch": batch, "seconds": round(seconds, 3),
                    "ratio": round(seconds / found[str(plain[0])], 3),
                }
            )  # fmt: skip
    return rows


def compiled(quick: bool, rounds: int) -> Rows:
    """Seconds of the processor that a step of ResNet-18 takes: as it is, with the parts between the
    boundaries compiled, and compiled as a whole, which needs backward="after"."""
    torch.set_num_threads(1)
    name, batch = "resnet18", 2 if quick else TIMED["resnet18"]
    rows: Rows = []
    for rule, blocks in CASES[:2]:
        for mode in ("eager", "parts", "whole"):
            torch.compiler.reset()
            local = make(name, rule, blocks, None, quick)
            local.backward_mode = "after" if mode == "whole" else "inside"
            if mode == "parts":
                local.compile_parts()
            step = make_step(torch.compile(local) if mode == "whole" else local, name, batch)
            seconds = medians({mode: step}, rounds, process_time)[mode]
            rows.append({
                "part": "compiled", "model": name, "rule": rule, "blocks": blocks, "mode": mode,
                "batch": batch, "seconds": round(seconds, 3),
                "ratio": round(seconds / (rows[0]["seconds"] if rows else seconds), 3),
            })  # fmt: skip
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows
