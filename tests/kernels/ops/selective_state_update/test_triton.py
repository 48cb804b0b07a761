"""The Triton backend of selective_state_update, interpreted on the CPU in its own process."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
def test_equals_float64() -> None:
    script = Path(__file__).with_name("interpreted.py")
    process = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=3600
    )
    assert process.returncode == 0, process.stderr
    errors = json.loads(process.stdout)
    assert len(errors) == 26
    assert errors["small steps"] < 1e-6
    assert {case: error for case, error in errors.items() if error > 1e-4} == {}
