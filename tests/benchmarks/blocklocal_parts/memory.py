"""The peak of memory of one step, in a process of its own."""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from record import Rows
from timing import forget_peak, peak_mib

from .steps import CASES, SCRIPT, make, make_step

BATCH = {"resnet50": 24, "vit_small_patch16_224": 24, "gpt2": 8}


def resident_mib() -> float:
    """What is resident now; the peak is set back to it where the system allows that."""
    gc.collect()
    status = Path("/proc/self/status").read_text()
    return int(next(x for x in status.splitlines() if x.startswith("VmRSS")).split()[1]) / 1024


def child(name: str, rule: str, blocks: int, quick: bool) -> None:
    """Print the peak of one step as JSON."""
    torch.set_num_threads(1)
    local = make(name, rule, blocks, None, quick)
    batch = 4 if quick else BATCH[name]
    make_step(local, name, 2)()
    step = make_step(local, name, batch)
    before = resident_mib()
    forget_peak()
    step()
    peak = peak_mib() - before
    row = {"model": name, "rule": rule, "blocks": blocks, "batch": batch, "peak_mib": round(peak)}
    print(json.dumps(row | {"head_parameters": local.head_parameters()}))


def memory(quick: bool, rounds: int) -> Rows:
    """The median peak of each case, each time in a process of its own: how the allocator reuses
    memory changes from process to process."""
    rows = []
    for name in BATCH:
        reference = None
        for rule, blocks in CASES:
            found = [_peak_of(name, rule, blocks, quick) for _ in range(rounds)]
            peaks = sorted(row["peak_mib"] for row in found)
            peak = round(statistics.median(peaks))
            reference = reference or peak
            rows.append({
                "part": "memory", **found[0], "peak_mib": peak, "lowest": peaks[0],
                "highest": peaks[-1], "share": round(peak / reference, 3),
            })  # fmt: skip
    return rows


def _peak_of(name: str, rule: str, blocks: int, quick: bool) -> dict[str, Any]:
    command = [sys.executable, str(SCRIPT), "child", name, rule, str(blocks)]
    command += ["--quick"] if quick else []
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row
