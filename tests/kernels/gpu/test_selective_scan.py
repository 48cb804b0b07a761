"""Triton's selective_scan on a GPU, by the battery of the CPU backend, and at the sizes of models.

On the CPU, where Triton is interpreted, a few small cases alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from evenfall.testing.gpu import triton_device

from ..ops.selective_scan import test_battery as battery
from ..ops.selective_scan.cases import CASES, EMPTY, LONG, Make, case

DEVICE = triton_device()
pytestmark = pytest.mark.gpu

SMALL: dict[str, Make] = {
    "odd": case(batch=2, length=63, states=3),
    "two chunks, groups": case(channels=4, length=150, states=2, groups=2),
    "packed over chunks, step": case(
        channels=4, length=150, states=2, step=True, ends=[0, 7, 7, 140, 150]
    ),
    "150 states": case(channels=3, length=2, states=150),
}
FEW = ("one step", "zoh", "dirac, step", "async", "packed, step")
LARGE: dict[str, Make] = {
    **LONG,
    "256 states, 100 steps": case(batch=2, channels=33, length=100, states=256),
    "2047 steps, 16 states": case(channels=11, length=2047, states=16),
    "1536 channels": case(batch=2, channels=1536, length=130, states=16),
}


class TestOnGpu(battery.TestSelectiveScan):
    backends = ("triton",)
    devices = (DEVICE,)
    dtypes = ("float32", "bfloat16")
    tolerances: ClassVar[Mapping[str, tuple[float, float]]] = {
        "float32": (1e-4, 1e-4),
        "bfloat16": (3e-2, 3e-2),
    }
    test_opcheck = None
    test_results_are_deterministic = None  # gradients are added up atomically

    def cases(self) -> Mapping[str, Any]:
        if DEVICE == "cuda":
            return CASES | SMALL | LARGE
        return {name: CASES[name] for name in FEW} | SMALL

    def empty_cases(self) -> Mapping[str, Any]:
        return EMPTY
