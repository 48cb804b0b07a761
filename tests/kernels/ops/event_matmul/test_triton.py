"""The Triton backend of event_matmul, interpreted on the CPU in its own process."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from evenfall_kernels import compress_rows, event_matmul

KINDS = ["dense", "uint16", "int32"]
DTYPES = ["float32", "bfloat16", "float16", "int8"]
SHAPES = ["1x1x1", "3x63x100", "2x100x63", "17x5x3", "0x5x3", "2x0x3", "2x5x0"]

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed"
)


@pytest.fixture(scope="module")
def errors() -> dict[str, float]:
    script = Path(__file__).with_name("interpreted.py")
    command = [sys.executable, str(script)]
    process = subprocess.run(command, check=True, capture_output=True, text=True, timeout=3600)
    errors: dict[str, float] = json.loads(process.stdout)
    return errors


@needs_triton
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_equals_float64(errors: dict[str, float], kind: str, dtype: str, shape: str) -> None:
    assert errors[f"{kind}-{dtype}-{shape}"] < 2e-5


@needs_triton
@pytest.mark.parametrize("width", [4, 8, 16])
@pytest.mark.parametrize("dtype", DTYPES)
def test_blocks_equal_float64(errors: dict[str, float], dtype: str, width: int) -> None:
    assert errors[f"blocks-{dtype}-{width}"] < 2e-5


@needs_triton
@pytest.mark.parametrize("kind", ["dense", "rows"])
def test_transposed_events_equal_float64(errors: dict[str, float], kind: str) -> None:
    assert errors[f"{kind}-transposed"] < 2e-5


@needs_triton
def test_nan_reaches_only_its_own_row(errors: dict[str, float]) -> None:
    assert errors["nan"] == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("compress", [False, True])
def test_on_a_gpu(compress: bool) -> None:
    events = (torch.randn(3, 2047) * (torch.rand(3, 2047) < 0.1)).cuda()
    dense = (torch.randn(2047, 100) * (torch.rand(2047, 100) < 0.2)).cuda()
    out = event_matmul(events, compress_rows(dense) if compress else dense)
    want = (events.double() @ dense.double()).float()
    torch.testing.assert_close(out, want, rtol=1e-4, atol=1e-4)
