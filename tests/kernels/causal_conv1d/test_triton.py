"""The Triton backend of causal_conv1d, interpreted on the CPU in a process of its own."""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
def test_every_output_and_gradient_equals_float64() -> None:
    script = Path(__file__).with_name("interpreted.py")
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    errors = json.loads(done.stdout)
    assert len(errors) == 40
    assert {case: error for case, error in errors.items() if error > 2e-6} == {}


@pytest.mark.parametrize("tile", [(16, 128), (128, 16)])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["_forward_kernel", "_weight_kernel", "_input_kernel"])
def test_compiles_for_a_gpu_without_spilling(
    name: str, packed: bool, tile: tuple[int, int]
) -> None:
    """Interpretation accepts more than the compiler does; this needs no GPU."""
    pytest.importorskip("triton.backends.nvidia")
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernel = getattr(importlib.import_module("eventide_kernels.causal_conv1d.triton"), name)
    options = {"SILU": True, "PACKED": packed, "CHANNELS": tile[0], "STEPS": tile[1]}
    names = kernel.arg_names
    constants = {option: value for option, value in options.items() if option in names}
    types = {each: "constexpr" if each in constants else _type(each) for each in names}
    source = ASTSource(
        kernel, types, {(names.index(option),): value for option, value in constants.items()}
    )
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32))
    assert "st.local" not in compiled.asm["ptx"]


def _type(name: str) -> str:
    if name in ("first_ptr", "sequence_ptr"):
        return "*i64"
    if name in ("g_ptr", "parts_ptr", "d_x_ptr"):
        return "*fp32"
    return "*bf16" if name.endswith("_ptr") else "i32"
