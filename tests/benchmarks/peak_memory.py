"""The most memory that this program has had resident, and a new start of that mark."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path

MIB = 2**20


def peak_mib() -> float:
    """The most memory that this program has had resident, in MiB.

    Linux hands ru_maxrss on from the process that starts another one, so there its own mark counts.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


def forget_peak() -> None:
    """Set the mark down to what is resident now, where the system lets a program do so (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
