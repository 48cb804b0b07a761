"""Time and peak memory of StreamConv and its rivals by the number of points of one cloud.

Memory is the peak MiB above what was resident before, of the forward pass and of both. Each figure
comes from a process of its own; it is a fork, where there are any, of one that has imported the
hosts and run nothing.
"""

from __future__ import annotations

import multiprocessing
import warnings

import torch
from record import Rows
from stream_parts.layers import DENSE, LAYERS, OURS, TRANSFORMER, passes
from timing import forget_peak, medians, peak_mib

SIZES = (1024, 4096, 8192, 16384, 65536, 262144)
LARGEST = {OURS: SIZES[-1], TRANSFORMER: 65536, DENSE: 16384}
QUICK = (64, 512)
WARM_UP = 64
THREADS = 2
HOSTS = ("torch_geometric.nn", "evenfall_stream.nn.conv", "evenfall_stream.neighbors")


def cases(quick: bool) -> list[tuple[str, int]]:
    """Every layer at every size that it finishes in seconds; ours alone at the larger quick one."""
    if quick:
        return [*((name, QUICK[0]) for name in LAYERS), (OURS, QUICK[1])]
    return [(name, points) for points in SIZES for name in LAYERS if points <= LARGEST[name]]


def scaling(quick: bool, rounds: int) -> Rows:
    """A row for each layer and size, and how the time grows by eight times as many points."""
    todo = cases(quick)
    memory = dict(zip(todo, peaks(todo), strict=True))
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


def peaks(todo: list[tuple[str, int]]) -> list[tuple[float, float]]:
    """Peak MiB of the forward pass and of both, of each layer and size."""
    forks = "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if forks else "spawn")
    context.set_forkserver_preload(list(HOSTS))
    with context.Pool(THREADS, maxtasksperchild=1) as pool:
        return pool.starmap(peak, todo, chunksize=1)


def peak(name: str, points: int) -> tuple[float, float]:
    """Peak MiB of the forward pass and of both, in this process, which must be new."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(THREADS)
    for run in passes(name, WARM_UP).values():  # compiles, starts threads
        run()
    forward, both = passes(name, points).values()
    forget_peak()
    before = peak_mib()
    forward()
    after_forward = peak_mib()
    both()
    return after_forward - before, peak_mib() - before
