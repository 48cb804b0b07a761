"""Peak memory of one pass of a selective scan, above its inputs, in a process of its own.

Run as `python tests/benchmarks/scan_memory.py eventide 8192 [--forward]`, it writes the MiB alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import Any

import torch
from peak_memory import peak_mib
from scan_contenders import OURS, TORCH, both_ways, inputs, one_way, scans

CHANNELS, STATES = 1536, 16


def in_child(scan: str, length: int, *options: str) -> float:
    done = subprocess.run(
        [sys.executable, __file__, scan, str(length), *options],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(done.stdout)


def compare(length: int) -> list[dict[str, Any]]:
    """Ours both ways, the torch path forward alone: its backward pass takes minutes at 2048."""
    ours, forward = in_child(OURS, length), in_child(OURS, length, "--forward")
    theirs = in_child(TORCH, length, "--forward")
    shown = (
        ("eventide, forward", forward),
        ("eventide, forward + backward", ours),
        ("transformers, forward", theirs),
    )
    return [
        {"part": "memory", "what": what, "length": length, "peak_mib": peak,
         "times_eventide_both_ways": peak / ours}
        for what, peak in shown
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("scan", choices=[OURS, TORCH])
    parser.add_argument("length", type=int)
    parser.add_argument("--forward", action="store_true", help="without a backward pass")
    options = parser.parse_args()
    torch.set_num_threads(2)
    scan, wrap = scans()[options.scan], one_way if options.forward else both_ways
    wrap(scan, inputs((1, CHANNELS, 64, STATES)))()  # compiles, starts threads
    run = wrap(scan, inputs((1, CHANNELS, options.length, STATES)))
    before = peak_mib()
    run()
    sys.stdout.write(f"{peak_mib() - before}\n")


if __name__ == "__main__":
    main()
