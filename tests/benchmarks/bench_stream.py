r"""STREAM: time and memory by the number of points, throughput of the models, where time goes.

    MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=8000000000 \
        python tests/benchmarks/bench_stream.py [--quick] [--no-save] [--rounds N]

The variables make the C library keep what is freed for the next call. Without them the system takes
arrays of over 32 MiB back each time and hands out pages anew, zeroed one by one, and large clouds
spend more time on that than on arithmetic, those of every layer measured here alike.

StreamConv stands against PyG's PointTransformerConv over 16 neighbours, whose graph is built anew
in each call, and against dense attention. Each memory figure is taken in a process of its own.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

import torch
from record import save, table
from stream_online import online
from stream_profile import shares
from stream_scaling import LARGEST, SIZES, THREADS, scaling
from stream_throughput import clouds, recordings, throughput

Rows = list[dict[str, Any]]
ROUNDS = 3
ALLOCATOR = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "THP_MEM_ALLOC_ENABLE")
PARTS = ("scaling", "growth", "throughput", "online", "profile")


def profiles(quick: bool) -> Rows:
    """Both models, inference and training of a batch."""
    batch = 3 if quick else 32
    tasks = {
        "clouds": clouds("stream", 128 if quick else 1024, batch),
        "events": recordings(200 if quick else 4096, batch),
    }
    return [
        row
        for name, task in tasks.items()
        for what in ("inference", "training")
        for row in shares(name, what, task)
    ]


def measure(quick: bool, rounds: int) -> Rows:
    torch.set_num_threads(THREADS)
    rounds = 1 if quick else rounds
    rows = scaling(quick, rounds) + throughput(quick, rounds) + online(quick, rounds)
    return rows + profiles(quick)


def command(rounds: int) -> str:
    """What to run to measure again, with the variables of the allocator that were set."""
    variables = [f"{name}={os.environ[name]} " for name in ALLOCATOR if name in os.environ]
    asked = "" if rounds == ROUNDS else f" --rounds {rounds}"
    return f"{''.join(variables)}python tests/benchmarks/bench_stream.py{asked}"


def limits() -> str:
    """Which layer was not taken to the largest cloud, and how far it was."""
    found = [f"{name} up to {n:,} points" for name, n in LARGEST.items() if n < SIZES[-1]]
    return f"Taken no further than a few seconds: {', '.join(found)}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes; saves nothing")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each timing")
    parser.add_argument("--no-save", action="store_true", help="do not write docs/benchmarks")
    arguments = parser.parse_args()
    rows = measure(arguments.quick, arguments.rounds)
    for part in PARTS:
        table(f"STREAM, {part}", [row for row in rows if row["part"] == part])
    if not (arguments.no_save or arguments.quick):
        save(
            "stream", rows, command(arguments.rounds),
            f"Float32, {THREADS} threads, medians of {arguments.rounds}. Layers: 64 channels in "
            "and out, one cloud; StreamConv along 3 axes with 16 states, dense attention with 4 "
            "heads. Memory: the most above what was resident before, in a process of its own. "
            f"{limits()} "
            "Models: random clouds of 1,024 points and recordings of 4,096 events over 300 ms. "
            "Training is a forward and backward pass and a step of AdamW; the heads of the cloud "
            "models normalise over the batch and cannot train on one cloud. The profile was taken "
            "once, with torch's profiler running.",
        )  # fmt: skip


if __name__ == "__main__":
    main()
