"""The Triton backend of selective_scan, interpreted on the CPU in its own process."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

NAMES = [
    "one step", "two chunks", "groups", "plain", "one state", "300 states", "step", "zoh",
    "dirac, step", "async", "free step", "packed", "packed, step",
    "packed, long", "padded rows", "nothing optional", "step, no scale",
    "channels last", "channels-last gate", "half a tensor", "no step", "no sequence",
    "no channel", "packed, all empty", "packed, none",
]  # fmt: skip

LOW = ["groups", "packed, step", "async"]
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
    assert list(errors) == [*NAMES, *low, "far apart, bfloat16", "wrong bounds"]


@pytest.mark.parametrize("name", NAMES)
def test_every_output_and_gradient_equals_float64(errors: dict[str, float], name: str) -> None:
    assert errors[name] < 3e-5  # the gradient of A in plain float32 is 6e-6 off


@pytest.mark.parametrize("dtype", ALLOWED)
@pytest.mark.parametrize("name", LOW)
def test_low_precision_only_adds_rounding(errors: dict[str, float], name: str, dtype: str) -> None:
    assert errors[f"{name}, {dtype}"] < ALLOWED[dtype]


def test_offsets_beyond_32_bits(errors: dict[str, float]) -> None:
    assert errors["far apart, bfloat16"] < ALLOWED["bfloat16"]


def test_bounds_outside_the_signal_are_cut(errors: dict[str, float]) -> None:
    """Reading them on a GPU would wait for it; without the cut they destroy memory."""
    assert errors["wrong bounds"] == 0
