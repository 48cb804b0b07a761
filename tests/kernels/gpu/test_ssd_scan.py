"""Triton's ssd_scan on a GPU, by the battery of the CPU backend, and at the sizes of models.

On the CPU, where Triton is interpreted, a few small cases alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from evenfall.testing.gpu import triton_device

from ..ops.ssd_scan import test_battery as battery
from ..ops.ssd_scan.cases import CASES, EMPTY, LONG, Make, case

DEVICE = triton_device()
pytestmark = pytest.mark.gpu

FEW = ("one step", "63", "groups", "packed, groups")
LARGE: dict[str, Make] = {
    **LONG,
    "24 heads of 64, 128 states": case(batch=2, length=300, heads=24, channels=64, states=128),
    "8 groups, 256 states": case(length=130, heads=16, channels=80, states=256, groups=8),
    "packed, long": case(length=1500, heads=4, channels=64, states=64, ends=[0, 7, 7, 900, 1500]),
}


class TestOnGpu(battery.TestSsdScan):
    backends = ("triton",)
    devices = (DEVICE,)
    dtypes = ("float32", "bfloat16")
    tolerances: ClassVar[Mapping[str, tuple[float, float]]] = {
        "float32": (1e-4, 1e-4),
        "bfloat16": (3e-2, 3e-2),
    }
    test_opcheck = None

    def cases(self) -> Mapping[str, Any]:
        if DEVICE == "cuda":
            return CASES | LARGE
        return {name: CASES[name] for name in FEW}

    def empty_cases(self) -> Mapping[str, Any]:
        return EMPTY
