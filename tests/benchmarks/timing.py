"""Measure time and memory: medians of functions timed in turn, and the peak of a process."""

from __future__ import annotations

import contextlib
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

MIB = 2**20


def medians(
    functions: dict[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Seconds of each function: the median over `rounds`, after one call to warm up.

    The functions take turns, so that a busy machine disturbs all of them alike.
    `clock=time.process_time` counts the seconds of the processor, of all threads together.
    """
    times: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(rounds):
        for name, function in functions.items():
            begin = clock()
            function()
            times[name].append(clock() - begin)
    return {name: statistics.median(found) for name, found in times.items()}


def peak_mib() -> float:
    """The most memory that this process has had resident, in MiB.

    On Linux ru_maxrss starts at that of the parent process, so there VmHWM counts.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


def forget_peak() -> None:
    """Set the peak back to what is resident now, where the system allows it (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
