"""The backends of ssd_scan against its float64 reference, with Evenfall's test kit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from evenfall import use_backend
from evenfall.testing.kernels import KernelBattery
from evenfall_kernels import ssd_scan

from .cases import CASES, EMPTY, LONG


class TestSsdScan(KernelBattery):
    operation = "ssd_scan"
    backends = ("cpu",)
    tolerances: ClassVar[Mapping[str, tuple[float, float]]] = {"float32": (1e-5, 1e-5)}

    def cases(self) -> Mapping[str, Any]:
        return {**CASES, **LONG}

    def empty_cases(self) -> Mapping[str, Any]:
        return EMPTY

    def call(self, backend: str, **inputs: Any) -> Any:
        with use_backend(backend):
            return ssd_scan(**inputs, return_last_state=True)


class TestLowPrecision(TestSsdScan):
    """Only inputs and outputs are rounded: arithmetic and states are float32."""

    dtypes = ("bfloat16", "float16")
    tolerances: ClassVar[Mapping[str, tuple[float, float]]] = {
        "bfloat16": (1e-2, 1e-2),
        "float16": (2e-3, 2e-3),
    }

    def cases(self) -> Mapping[str, Any]:
        return {name: CASES[name] for name in ("63", "groups", "packed, groups")}
