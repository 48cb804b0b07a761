"""Triton's interpreter, made quicker for tests."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed"
)


def test_quick_scans_equal_those_of_triton() -> None:
    script = Path(__file__).with_name("interpreted_scans.py")
    done = subprocess.run(
        [sys.executable, str(script)], check=True, stdout=subprocess.PIPE, text=True, timeout=3600
    )
    own, quick = json.loads(done.stdout)
    assert len(own) == 4
    assert own[0] != own[1] != own[2] != own[3]
    assert quick == own
