"""Time and peak memory of StreamConv and its rivals by the number of points of one cloud.

Run as `python -m stream_parts.scaling StreamConv 4096` within tests/benchmarks, it writes the peak
MiB above what was resident before, of the forward pass and of both: each memory figure comes from
such a process of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from record import Rows
from stream_parts.layers import DENSE, LAYERS, OURS, TRANSFORMER, passes
from timing import forget_peak, medians, peak_mib

HERE = Path(__file__).resolve().parents[1]
SIZES = (1024, 4096, 8192, 16384, 65536, 262144)
LARGEST = {OURS: SIZES[-1], TRANSFORMER: 65536, DENSE: 16384}
QUICK = (64, 512)
WARM_UP = 64
THREADS = 2


def cases(quick: bool) -> list[tuple[str, int]]:
    """Every layer at every size that it finishes in seconds; ours alone at the larger quick one."""
    if quick:
        return [*((name, QUICK[0]) for name in LAYERS), (OURS, QUICK[1])]
    return [(name, points) for points in SIZES for name in LAYERS if points <= LARGEST[name]]


def scaling(quick: bool, rounds: int) -> Rows:
    """A row for each layer and size, and how the time grows by eight times as many points."""
    todo = cases(quick)
    with ThreadPoolExecutor(THREADS) as pool:
        memory = dict(zip(todo, pool.map(lambda case: in_child(*case), todo), strict=True))
    rows: Rows = []
    for name, points in todo:
        ms = {what: s * 1e3 for what, s in medians(passes(name, points), rounds).items()}
        peak = memory[name, points]
        rows += [
            {"part": "scaling", "layer": name, "points": points, "pass": what, "ms": ms[what],
             "microseconds_a_point": ms[what] * 1e3 / points, "peak_mib": mib}
            for what, mib in zip(ms, peak, strict=True)
        ]  # fmt: skip
    return rows + growth(rows)


def growth(rows: Rows) -> Rows:
    """How many times as long a pass takes with eight times as many points, where both are known."""
    times = {(row["layer"], row["pass"], row["points"]): row["ms"] for row in rows}
    return [
        {"part": "growth", "layer": layer, "pass": what, "points": points, "times": points // few,
         "times_as_long": ms / times[layer, what, few]}
        for (layer, what, points), ms in times.items()
        if (layer, what, few := points // 8) in times
    ]  # fmt: skip


def in_child(name: str, points: int) -> tuple[float, float]:
    """Peak MiB of the forward pass and of both."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "stream_parts.scaling", name, str(points)],
        cwd=HERE, capture_output=True, text=True, check=True,
    )  # fmt: skip
    forward, both = map(float, done.stdout.split())
    return forward, both


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("layer", choices=list(LAYERS))
    parser.add_argument("points", type=int)
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    for run in passes(options.layer, WARM_UP).values():  # compiles, starts threads
        run()
    work = passes(options.layer, options.points)
    forget_peak()
    before = peak_mib()
    for run in work.values():
        run()
        sys.stdout.write(f"{peak_mib() - before}\n")


if __name__ == "__main__":
    main()
