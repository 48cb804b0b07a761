"""Entry point: registers the backends of all operations by name, without importing them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from evenfall import hookimpl

EVENFALL_API = 1

_FLOATS = ("float32", "bfloat16", "float16")
_OPERATIONS = (
    "causal_conv1d",
    "egru_scan",
    "egru_step",
    "event_matmul",
    "selective_scan",
    "selective_state_update",
    "ssd_scan",
    "ssd_state_update",
)
_WITHOUT_TRITON = {"egru_step", "ssd_scan"}
"""One token gains nothing on a GPU; that of ssd_scan is not written yet."""


@hookimpl
def evenfall_register_kernels(register: Callable[..., Any]) -> None:
    """Register the backends reference, cpu and triton of every operation."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"  # Triton then runs on the CPU
    for operation in _OPERATIONS:
        module = f"evenfall_kernels.ops.{operation}"
        register(
            operation,
            "reference",
            f"{module}.reference",
            devices=("cpu", "cuda", "xpu", "mps"),
            dtypes=("float64", *_FLOATS),
            priority=0,
            slow=True,
        )
        register(operation, "cpu", f"{module}.cpu", devices=("cpu",), dtypes=_FLOATS, priority=100)
        if operation in _WITHOUT_TRITON:
            continue
        register(
            operation,
            "triton",
            f"{module}.triton",
            devices=("cuda", "xpu", "cpu") if interpreted else ("cuda", "xpu"),
            dtypes=_FLOATS,
            priority=50,
        )
