"""Entry point: registers the backends of all operations by name, without importing them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from evenfall import hookimpl

EVENFALL_API = 1

_FLOATS = ("float32", "bfloat16", "float16")
_OPERATIONS = {
    "causal_conv1d": "the short convolution of a Mamba block",
    "egru_scan": "the EGRU recurrence over whole or packed sequences",
    "egru_step": "one token through a whole EGRU model",
    "event_matmul": "events times a matrix, of which only the rows of active units are read",
    "selective_scan": "the state-space scan of Mamba and STREAM",
    "selective_state_update": "one token of selective_scan",
    "ssd_scan": "the state-space scan of Mamba-2",
    "ssd_state_update": "one token of ssd_scan",
}
_WITHOUT_TRITON = {"egru_step"}
"""One token gains nothing on a GPU."""


@hookimpl
def evenfall_register_operations(register: Callable[..., Any]) -> None:
    """Register what a backend of each operation must offer."""
    for operation, summary in _OPERATIONS.items():
        reference = f"evenfall_kernels.ops.{operation}.contract:OPERATION"
        register(operation, reference, host="torch", summary=summary)


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
