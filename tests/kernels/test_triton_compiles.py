"""Every Triton kernel, with the arguments of its launcher, compiled for GPUs.

The interpreter accepts more than the compilers and does not measure registers and memory.
`EVENFALL_COMPILE=all` compiles every dtype, state size and option for every target in a quarter of
an hour.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton.backends.nvidia", reason="no Triton with a compiler for CUDA")

KERNELS = {
    "forward_kernel", "backward_kernel", "_forward_kernel", "_weight_kernel", "_input_kernel",
    "_step_kernel", "_backward_kernel", "_dense_kernel", "_rows_kernel",
    "add_kernel", "pass_kernel", "output_kernel", "head_kernel", "group_kernel", "_ssd_step_kernel",
}  # fmt: skip
SHARED_MEMORY = {"sm_80": 48 * 1024, "sm_90": 48 * 1024, "gfx942": 64 * 1024}
LOCAL_BYTES = {"sm_80": 512, "sm_90": 256, "gfx942": 256}
"""Bytes that a thread may spill: a quarter of its registers, on sm_80 half (the backward pass of
selective_scan with a step)."""
WIDEST_GRID = (2**31 - 1, 65535, 65535)
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def rows() -> Rows:
    script = Path(__file__).with_name("compiled.py")
    selection = os.environ.get("EVENFALL_COMPILE", "")
    process = subprocess.run(
        [sys.executable, str(script), selection],
        env={name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"},
        capture_output=True,
        text=True,
        timeout=3600,
    )
    assert process.returncode == 0, process.stderr
    rows: Rows = json.loads(process.stdout)
    return rows


def test_every_kernel_compiles_for_nvidia_and_amd(rows: Rows) -> None:
    assert [row for row in rows if row["error"]] == []
    for target in ("sm_90", "gfx942"):
        assert {row["kernel"] for row in rows if row["target"] == target} == KERNELS


def test_registers_and_shared_memory_suffice(rows: Rows) -> None:
    assert [row for row in rows if row["local"] > LOCAL_BYTES[row["target"]]] == []
    assert [row for row in rows if row["shared"] > SHARED_MEMORY[row["target"]]] == []


def test_no_atomic_sum_has_a_memory_fence(rows: Rows) -> None:
    """By default Triton's atomic sums have one, which also invalidates the cache."""
    assert [row for row in rows if row.get("fences")] == []


def test_grids_are_within_the_limits(rows: Rows) -> None:
    for row in rows:
        sizes = zip(row["grid"], WIDEST_GRID, strict=False)
        assert all(0 < size <= limit for size, limit in sizes), row
