"""The Triton backend of ssd_scan, interpreted on the CPU in its own process."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from .cases import CASES, EMPTY

NAMES = [*CASES, "several tiles", "parts of wider rows", "a large step", *EMPTY]
LOW = ["63", "groups", "packed, groups"]
ALLOWED = {"bfloat16": 1e-2, "float16": 1e-3}

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed"
)


@pytest.fixture(scope="module")
def errors() -> dict[str, float]:
    script = Path(__file__).with_name("interpreted.py")
    process = subprocess.run(
        [sys.executable, str(script)], check=True, stdout=subprocess.PIPE, text=True, timeout=3600
    )
    errors: dict[str, float] = json.loads(process.stdout)
    return errors


def test_every_case_was_run(errors: dict[str, float]) -> None:
    low = [f"{name}, {dtype}" for name in LOW for dtype in ALLOWED]
    assert list(errors) == [*NAMES, *low]


@pytest.mark.parametrize("name", NAMES)
def test_every_output_and_gradient_equals_float64(errors: dict[str, float], name: str) -> None:
    assert errors[name] < 5e-6


@pytest.mark.parametrize("dtype", ALLOWED)
@pytest.mark.parametrize("name", LOW)
def test_low_precision_only_adds_rounding(errors: dict[str, float], name: str, dtype: str) -> None:
    assert errors[f"{name}, {dtype}"] < ALLOWED[dtype]


def test_both_settings_of_pytorch_allow_tf32() -> None:
    from evenfall_kernels.ops.ssd_scan import triton

    matmul = torch.backends.cuda.matmul
    try:
        allowed = []
        for precision in ("highest", "high"):
            torch.set_float32_matmul_precision(precision)
            allowed.append(triton._allows_tf32())
        assert allowed == [False, True]
        torch.set_float32_matmul_precision("highest")
        if hasattr(matmul, "fp32_precision"):  # from PyTorch 2.9
            matmul.fp32_precision = "tf32"
            assert triton._allows_tf32()
    finally:
        if hasattr(matmul, "fp32_precision"):
            matmul.fp32_precision = "none"
        torch.set_float32_matmul_precision("highest")
    assert not triton._allows_tf32()


@pytest.mark.parametrize(
    ("architecture", "has_it"), [("gfx942:sramecc+:xnack-", True), ("gfx90a", False)]
)
def test_products_are_tf32_only_where_triton_has_it(
    monkeypatch: pytest.MonkeyPatch, architecture: str, has_it: bool
) -> None:
    """Triton refuses it on most AMD GPUs."""
    from evenfall_kernels.ops.ssd_scan import triton

    properties = SimpleNamespace(gcnArchName=architecture)
    assert triton._has_tf32(torch.device("cuda", 0))
    monkeypatch.setattr(torch.version, "hip", "7.0")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    assert triton._has_tf32(torch.device("cuda", 0)) == has_it
