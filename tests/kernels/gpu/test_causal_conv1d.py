"""Triton's causal_conv1d on a GPU, by the battery of the CPU backend, and at the sizes of models.

On the CPU, where Triton is interpreted, the small cases alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from evenfall.testing.gpu import triton_device

from ..ops.causal_conv1d import test_battery as battery

DEVICE = triton_device()
pytestmark = pytest.mark.gpu

SMALL = {name: make for name, make in battery.CASES.items() if name != "long"}
LARGE = battery.CASES | {"1536 channels": battery.make_inputs(2, 1536, 2047, 4)}


class TestOnGpu(battery.TestCausalConv1d):
    backends = ("triton",)
    devices = (DEVICE,)
    dtypes = ("float32", "bfloat16")
    tolerances: ClassVar[Mapping[str, tuple[float, float]]] = {
        "float32": (1e-4, 1e-4),
        "bfloat16": (3e-2, 3e-2),
    }
    test_opcheck = None

    def cases(self) -> Mapping[str, Any]:
        return LARGE if DEVICE == "cuda" else SMALL


class TestLinearOnGpu(TestOnGpu):
    """The same without an activation, in float32."""

    dtypes = ("float32",)
    activation = None
