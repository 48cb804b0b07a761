"""The Triton backend of selective_scan: interpreted on the CPU, and compiled for a GPU."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NAMES = [
    "one step", "two chunks", "groups", "plain", "one state", "256 states", "step", "zoh",
    "dirac, step", "async", "packed", "packed, step", "no step", "no sequence", "no channel",
    "packed, all empty", "packed, none",
]  # fmt: skip

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed"
)


@pytest.fixture(scope="module")
def errors() -> dict[str, float]:
    script = Path(__file__).with_name("interpreted.py")
    done = subprocess.run(
        [sys.executable, str(script)], check=True, stdout=subprocess.PIPE, text=True, timeout=400
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def test_every_case_was_run(errors: dict[str, float]) -> None:
    assert list(errors) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_output_and_gradient_equals_float64(errors: dict[str, float], name: str) -> None:
    assert errors[name] < 1e-5


def _type(name: str) -> str:
    if name.endswith(("_b", "_d", "_t")) or name.endswith(("channels", "_blocks")):
        return "i32"
    if name in ("length", "states"):
        return "i32"
    low = ("u", "delta", "B", "C", "z", "out", "grad_y", "d_u", "d_delta", "d_z")
    return "*i64" if name == "ends" else "*bf16" if name in low else "*fp32"


@pytest.mark.parametrize("rule", [0, 1, 2])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_compiles_for_a_gpu_without_spilling(direction: str, rule: int) -> None:
    """Interpretation accepts more than the compiler does; this needs no GPU."""
    pytest.importorskip("triton.backends.nvidia")
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    module: Any = importlib.import_module(f"eventide_kernels.selective_scan.triton_{direction}")
    kernel = getattr(module, f"{direction}_kernel")
    options = {
        "packed": rule == 1, "has_z": True, "has_step": rule > 0, "rule": rule,
        "use_softplus": True, "save": True, "block_d": 4, "block_t": 128,
    }  # fmt: skip
    names = kernel.arg_names
    constants = {name: value for name, value in options.items() if name in names}
    types = {name: "constexpr" if name in constants else _type(name) for name in names}
    types["d_state"] = "*fp32"
    source = ASTSource(
        kernel,
        {name: types[name] for name in names},
        {(names.index(name),): value for name, value in constants.items()},
    )
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32))
    assert "st.local" not in compiled.asm["ptx"]
