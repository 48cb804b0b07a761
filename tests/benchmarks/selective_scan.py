"""selective_scan on the CPU against its rivals and against this machine's limit.

    python tests/benchmarks/selective_scan.py [--quick] [--no-save]
    python tests/benchmarks/selective_scan.py --torch-backward

The torch path's backward pass is quadratic in the length and takes minutes at 2048 steps. The first
command shows how it grows up to 256 steps; the second measures it once at 2048, which takes five
minutes, and adds the row to what the first saved.
"""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
import torch
from layout import BLUE, GREY, ORANGE, by_part, key, pyplot, table
from record import Record, Rows, saved_rows
from script import command_of, finish, parser
from selective_scan_parts.contenders import (
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
from selective_scan_parts.memory import compare
from timing import medians

TITLE = "The selective scan"
ABOUT = (
    "The *bare loop* does the same exponentials and multiply-adds and touches no memory: it is the "
    "machine's limit. On the Xeon, long sequences also wait for fresh pages of memory; the "
    "variables in the command of [STREAM](#stream) keep pages for the next call.\n\n"
    "The second table compares with the PyTorch path of `transformers` and the parallel scan of "
    "`mamba.py`, one sequence of 1536 channels and 16 states. Backward, the time of `transformers` "
    "grows with the square of the number of steps.\n\n"
    "The third is the peak of memory above the inputs. *Recorded* is the forward pass of training, "
    "which keeps what the backward pass needs; `transformers` needs that and more, in a backward "
    "pass too long to be measured here."
)
IMAGE, ALT = "selective-scan.svg", "Milliseconds by number of steps"
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
FEW, MANY = 16, 128  # states of the rows that tell a state's time from a step's


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
    return _versus(TORCH, MAIN, True, theirs, ours) | {
        "command": f"{command_of('selective_scan')} --torch-backward"
    }


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


def tables(record: Record) -> str:
    """Sizes, rivals and memory."""
    sizes = {
        "Batch": key("batch"),
        "Channels": key("channels"),
        "Steps": key("length"),
        "States": key("states"),
        "Forward, ms": key("forward_ms"),
        "Forward + backward, ms": key("forward+backward_ms"),
        "Bare loop, ms": key("bare_loop_ms"),
        "Forward / bare": key("forward/bare"),
        "10⁹ exp a second": key("1e9_exponentials_a_second"),
        "10⁹ multiply-adds a second": key("1e9_multiply_adds_a_second"),
    }
    versus = {
        "Against": key("rival"),
        "Steps": key("length"),
        "Pass": key("pass"),
        "Its ms": key("rival_ms"),
        "`selective_scan`, ms": key("evenfall_ms"),
        "Times faster": key("times_faster"),
    }
    memory = {"What": key("what"), "Steps": key("length"), "Peak, MiB": key("peak_mib")}
    parts = by_part(record)
    found = parts.get("size", [])
    blocks = [
        table(sizes, found),
        against_the_bare_loop(found),
        table(versus, parts.get("versus", [])),
        table(memory, parts.get("memory", [])),
    ]
    return "\n\n".join(block for block in blocks if block)


def against_the_bare_loop(sizes: Rows) -> str:
    """What a state and the rest of a step take, from two rows that differ in their states alone."""
    by_size = {tuple(row[n] for n in ("batch", "length", "states")): row for row in sizes}
    few, many = (by_size.get((1, 2048, states)) for states in (FEW, MANY))
    if few is None or many is None:
        return ""
    state, bare = (
        (many[name] - few[name]) / (MANY - FEW) for name in ("forward_ms", "bare_loop_ms")
    )
    return (
        f"By the rows of {FEW} and {MANY} states, a state takes {state / bare:.2g} times what it "
        "takes the bare loop, and what a step costs besides (loading, softplus, gate) is as much "
        f"as {few['forward_ms'] / state - FEW:.0f} states."
    )


def picture(rows: Rows) -> None:
    """Milliseconds against the number of steps, for one sequence with 16 states."""
    plt = pyplot()
    chosen = [r for r in rows if r["part"] == "size" and (r["batch"], r["states"]) == (1, 16)]
    chosen.sort(key=lambda row: row["length"])
    steps = [row["length"] for row in chosen]
    _, axes = plt.subplots(figsize=(7, 3.8))
    for name, colour, style, label in (
        ("forward+backward_ms", ORANGE, "-s", "forward + backward"),
        ("forward_ms", BLUE, "-o", "forward"),
        ("bare_loop_ms", GREY, "--", "bare loop"),
    ):
        axes.plot(steps, [row[name] for row in chosen], style, color=colour, label=label)
    axes.set(xscale="log", yscale="log", xlabel="steps", ylabel="ms")
    axes.set_xticks(steps, [f"{count:,}" for count in steps])
    axes.minorticks_off()
    axes.legend(fontsize=8)


def main() -> None:
    command_line = parser(__doc__, quick=True)
    command_line.add_argument("--torch-backward", action="store_true", help="that row, 5 minutes")
    options = command_line.parse_args()
    torch.set_num_threads(2)
    kept = saved_rows("selective_scan")
    if options.torch_backward:
        rows = [row for row in kept if "command" not in row] + [torch_backward()]
    else:
        sizes = [QUICK] if options.quick else [MAIN, *TABLE]
        memory = compare(2048 if options.quick else 8192)
        rows = [measure(size, 3 if np.prod(size) > 2e8 else 15) for size in sizes]
        rows += rivals(sizes[0], 1 if options.quick else 3) + memory
        rows += [row for row in kept if "command" in row]
    if PSCAN not in scans():
        print(f"{PSCAN} is left out: mambapy is not installed")
    load = f" Load average of the machine after measuring: {os.getloadavg()[0]:.1f}."
    finish("selective_scan", rows, options, NOTES + load)


if __name__ == "__main__":
    main()
