"""selective_scan on the CPU against its rivals and against this machine's limit.

    python tests/benchmarks/bench_selective_scan.py [--quick] [--no-save] [--name NAME]
    python tests/benchmarks/bench_selective_scan.py --torch-backward [--name NAME]

NAME is that of the record, for a second machine beside the first.

The torch path's backward pass is quadratic in the length and takes minutes at 2048 steps. The first
command shows how it grows up to 256 steps; the second measures it once at 2048, which takes five
minutes, and adds the row to what the first saved.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

import numpy as np
import torch
from record import FOLDER, save, table
from scan_contenders import (
    OURS,
    PSCAN,
    TORCH,
    Size,
    bare_loop,
    both_ways,
    inputs,
    one_way,
    scans,
)
from scan_memory import compare
from timing import medians

NAME = "selective_scan"
COMMAND = "python tests/benchmarks/bench_selective_scan.py"
MAIN = (1, 1536, 2048, 16)
TABLE = [
    *((1, 1536, length, 16) for length in (128, 512, 8192, 65536)),
    *((1, 1536, 2048, states) for states in (4, 8, 32, 64, 128)),
    *((batch, 1536, 2048, 16) for batch in (4, 16)),
]
QUICK = (1, 64, 128, 16)
NOTES = (
    "fp32, 2 threads, softplus, gate and skip included; medians. The bare loop is one exponential "
    "and three multiply-adds an element, from the first-level cache, timed in turn with the scan. "
    "Peak memory is what a process of its own needs above the inputs. What transformers takes for "
    "2048 steps both ways, where it is there, is one pass of `--torch-backward`."
)
Rows = list[dict[str, Any]]


def measure(size: Size, rounds: int) -> dict[str, Any]:
    """Forward, forward + backward, and the bare loop."""
    p, ours = inputs(size), scans()[OURS]
    functions = {
        "forward": one_way(ours, p), "both": both_ways(ours, p), "bare": bare_loop(size),
    }  # fmt: skip
    seconds = medians(functions, rounds)
    elements = float(np.prod(size))
    return {
        "part": "size",
        **dict(zip(("batch", "channels", "length", "states"), size, strict=True)),
        "forward_ms": seconds["forward"] * 1e3,
        "forward+backward_ms": seconds["both"] * 1e3,
        "bare_loop_ms": seconds["bare"] * 1e3,
        "forward/bare": seconds["forward"] / seconds["bare"],
        "1e9_exponentials_a_second": elements / seconds["forward"] / 1e9,
        "1e9_multiply_adds_a_second": 3 * elements / seconds["forward"] / 1e9,
    }


def against(rival: str, size: Size, backward: bool, rounds: int) -> dict[str, Any]:
    """One pass of a rival and of ours, timed in turn."""
    wrap, p, known = both_ways if backward else one_way, inputs(size), scans()
    seconds = medians({name: wrap(known[name], p) for name in (rival, OURS)}, rounds)
    return _versus(rival, size, backward, seconds[rival], seconds[OURS])


def torch_backward() -> dict[str, Any]:
    """The torch path both ways at full size, once, warmed up on a short sequence."""
    known, p = scans(), inputs(MAIN)
    both_ways(known[TORCH], inputs((*MAIN[:2], 64, MAIN[3])))()
    begin = time.perf_counter()
    both_ways(known[TORCH], p)()
    theirs = time.perf_counter() - begin
    ours = medians({OURS: both_ways(known[OURS], p)}, 9)[OURS]
    return _versus(TORCH, MAIN, True, theirs, ours) | {"command": f"{COMMAND} --torch-backward"}


def _versus(rival: str, size: Size, backward: bool, theirs: float, ours: float) -> dict[str, Any]:
    return {
        "part": "versus", "rival": rival, "length": size[2],
        "pass": "forward + backward" if backward else "forward",
        "rival_ms": theirs * 1e3, "evenfall_ms": ours * 1e3, "times_faster": theirs / ours,
    }  # fmt: skip


def rivals(size: Size, rounds: int) -> Rows:
    """The torch path forward, how its both-ways time grows, and mamba.py's scan where installed."""
    batch, channels, _, states = size
    rows = [against(TORCH, size, False, rounds)]
    for length in (64, 128, 256):
        rows.append(against(TORCH, (batch, channels, length, states), True, 1))
    if PSCAN in scans():
        rows += [against(PSCAN, size, backward, rounds) for backward in (False, True)]
    return rows


def saved_rows(name: str) -> Rows:
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one tiny size; saves nothing")
    parser.add_argument("--torch-backward", action="store_true", help="that row alone, 5 minutes")
    parser.add_argument("--name", default=NAME, help="of the record in docs/benchmarks")
    parser.add_argument("--no-save", action="store_true", help="do not write docs/benchmarks")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    if arguments.torch_backward:
        rows = [torch_backward()]
        merged = [row for row in saved_rows(arguments.name) if "command" not in row] + rows
    else:
        sizes = [QUICK] if arguments.quick else [MAIN, *TABLE]
        memory = compare(2048 if arguments.quick else 8192)
        rows = [measure(size, 3 if np.prod(size) > 2e8 else 15) for size in sizes]
        rows += rivals(sizes[0], 1 if arguments.quick else 3)
        rows += memory
        merged = rows + [row for row in saved_rows(arguments.name) if "command" in row]
    for part in dict.fromkeys(row["part"] for row in rows):
        table(f"selective_scan, fp32, 2 threads: {part}", [r for r in rows if r["part"] == part])
    if PSCAN not in scans():
        table("left out", [{"rival": PSCAN, "why": "mambapy is not installed"}])
    if not (arguments.no_save or arguments.quick):
        load = f" Load average of the machine after measuring: {os.getloadavg()[0]:.1f}."
        named = "" if arguments.name == NAME else f" --name {arguments.name}"
        save(arguments.name, merged, COMMAND + named, NOTES + load)


if __name__ == "__main__":
    main()
