"""Peak memory of one pass of a selective scan, above its inputs, in a process of its own.

    python -m selective_scan_parts.memory evenfall 8192 "forward + backward"

writes the MiB alone, from within tests/benchmarks.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from selective_scan_parts.contenders import (
    OURS,
    TORCH,
    both_ways,
    inputs,
    one_way,
    recorded,
    scans,
)  # fmt: skip
from timing import peak_mib

HERE = Path(__file__).resolve().parents[1]
CHANNELS, STATES = 1536, 16
PASSES = {"forward": one_way, "forward, recorded": recorded, "forward + backward": both_ways}


def in_child(scan: str, length: int, what: str) -> float:
    done = subprocess.run(
        [sys.executable, "-m", "selective_scan_parts.memory", scan, str(length), what],
        cwd=HERE, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(done.stdout)


def compare(length: int) -> list[dict[str, Any]]:
    """Every pass but the torch path's backward, which takes minutes at 2048 steps.

    That needs at least what its recorded forward pass holds when it begins.
    """
    passes = [(OURS, what) for what in PASSES] + [(TORCH, what) for what in list(PASSES)[:2]]
    peaks = {(scan, what): in_child(scan, length, what) for scan, what in passes}
    ours = peaks[OURS, "forward + backward"]
    return [
        {"part": "memory", "what": f"{scan}, {what}", "length": length, "peak_mib": peak,
         "times_evenfall_both_ways": peak / ours}
        for (scan, what), peak in peaks.items()
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("scan", choices=[OURS, TORCH])
    parser.add_argument("length", type=int)
    parser.add_argument("what", choices=list(PASSES))
    options = parser.parse_args()
    torch.set_num_threads(2)
    scan, wrap = scans()[options.scan], PASSES[options.what]
    wrap(scan, inputs((1, CHANNELS, 64, STATES)))()  # compiles, starts threads
    run = wrap(scan, inputs((1, CHANNELS, options.length, STATES)))
    before = peak_mib()
    run()
    sys.stdout.write(f"{peak_mib() - before}\n")


if __name__ == "__main__":
    main()
