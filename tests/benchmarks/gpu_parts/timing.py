"""Medians of functions timed in turn on a GPU, by its own clock."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

Functions = dict[str, Callable[[], object]]


def medians_ms(functions: Functions, device: str, rounds: int) -> dict[str, float | None]:
    """Milliseconds of each function, timed in turn; None for one that cannot run here."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    able = {name: function for name, function in functions.items() if _runs(function)}
    for _ in range(rounds):
        for name, function in able.items():
            times[name].append(_one_ms(function, device))
    return {name: statistics.median(ms) if ms else None for name, ms in times.items()}


def _runs(function: Callable[[], object]) -> bool:
    try:
        for _ in range(3):
            function()
    except (RuntimeError, NotImplementedError):  # a layer without this dtype on this device
        return False
    return True


def _one_ms(function: Callable[[], object], device: str) -> float:
    if device != "cuda":
        begin = time.perf_counter()
        function()
        return (time.perf_counter() - begin) * 1e3
    torch.cuda.synchronize()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    function()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end)


def ratio(a: float | None, b: float | None) -> float | None:
    """a / b; None where either was not measured."""
    return None if a is None or b is None else a / b
