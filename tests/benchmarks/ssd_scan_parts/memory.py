"""Peak memory of one pass of ssd_scan or of a rival, above its inputs, in a process of its own.

    python -m ssd_scan_parts.memory evenfall 2048 "forward + backward"

writes the MiB alone, from within tests/benchmarks.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from ssd_scan_parts.contenders import OURS, PASSES, inputs, scans
from timing import forget_peak, peak_mib

HERE = Path(__file__).resolve().parents[1]
HEADS, CHANNELS, STATES = 24, 64, 128


def in_child(scan: str, length: int, what: str) -> float:
    done = subprocess.run(
        [sys.executable, "-m", "ssd_scan_parts.memory", scan, str(length), what],
        cwd=HERE, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(done.stdout)


def compare(length: int) -> list[dict[str, Any]]:
    """Every pass of every scan."""
    rows = []
    for what in PASSES:
        peaks = {scan: in_child(scan, length, what) for scan in scans()}
        rows += [
            {"part": "memory", "what": scan, "pass": what, "length": length, "peak_mib": peak,
             "times_evenfall": peak / peaks[OURS]}
            for scan, peak in peaks.items()
        ]  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("scan", choices=list(scans()))
    parser.add_argument("length", type=int)
    parser.add_argument("what", choices=list(PASSES))
    options = parser.parse_args()
    torch.set_num_threads(2)
    scan, wrap = scans()[options.scan], PASSES[options.what]
    wrap(scan, inputs((1, 64, HEADS, CHANNELS, STATES)))()  # compiles, starts threads
    run = wrap(scan, inputs((1, options.length, HEADS, CHANNELS, STATES)))
    forget_peak()
    before = peak_mib()
    run()
    sys.stdout.write(f"{peak_mib() - before}\n")


if __name__ == "__main__":
    main()
