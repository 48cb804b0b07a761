"""A run of many parts on a borrowed GPU: none may hold the others up, what is done is saved."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from record import Rows, save
from rich.console import Console
from script import command_of, show

console = Console(soft_wrap=True)


class Session:
    """Rows as they come, saved after each. A part ends where it fails or the time is over.

    Args:
        seconds: the time for all parts.
        saves: whether the rows go to docs/benchmarks.
    """

    def __init__(self, seconds: float, saves: bool) -> None:
        self.ends, self.saves = time.monotonic() + seconds, saves
        self.rows: Rows = []
        self.broken: list[str] = []

    def left(self) -> float:
        """Seconds until the time is over."""
        return self.ends - time.monotonic()

    def run(self, title: str, part: Callable[[], Iterable[dict[str, Any]]]) -> Rows:
        """Keep and show the rows of a part, as far as it got."""
        rows: Rows = []
        if self.left() <= 0:
            console.print(f"{title}: left out, the time is over")
            return rows
        try:
            for row in part():
                rows.append(row)
                self.keep(row)
                if self.left() <= 0:
                    console.print(f"{title}: cut short after {len(rows)} rows, the time is over")
                    break
        except Exception as problem:  # whatever ails one part, the others are worth having
            self.fail(f"{title}: {type(problem).__name__}: {problem}")
            console.print(traceback.format_exc(), markup=False)
        if rows:
            show(title, rows)
        return rows

    def keep(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        self.save()

    def fail(self, message: str) -> None:
        """Name what failed in the notes; the exit status is then 1."""
        self.broken.append(message[:300])
        self.save()

    def save(self) -> None:
        """Write docs/benchmarks/<gpu>/gpu.json, whole or not at all."""
        if not self.saves or not self.rows:
            return
        import torch

        about = torch.cuda.get_device_properties(0)
        broken = f" Failed: {'; '.join(self.broken)}." if self.broken else ""
        save(
            "gpu", self.rows, command_of("gpu"),
            f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}. TF32 is off. "
            f"least_gb_s counts each array once.{broken}",
            {"gpu": about.name, "gpu_gib": round(about.total_memory / 2**30)},
        )  # fmt: skip
