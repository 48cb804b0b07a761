"""The Triton backend of egru_scan, interpreted on the CPU in its own process."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

NAMES = [
    "odd", "wide", "one step", "no step", "no sequence", "zoneout", "zoneout mask", "strided",
    "packed",
]  # fmt: skip

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed"
)


@pytest.fixture(scope="module")
def errors() -> dict[str, float]:
    script = Path(__file__).with_name("interpreted.py")
    process = subprocess.run(
        [sys.executable, str(script)], check=True, capture_output=True, text=True, timeout=3600
    )
    errors: dict[str, float] = json.loads(process.stdout)
    return errors


@needs_triton
@pytest.mark.parametrize("name", NAMES)
def test_every_output_and_gradient_equals_float64(errors: dict[str, float], name: str) -> None:
    assert errors[name] < 1e-4
