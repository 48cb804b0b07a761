"""Triton's event_matmul on a GPU: every storage, odd and empty shapes, gradients, NaN.

On the CPU, where Triton is interpreted, the small shapes alone.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from evenfall import use_backend
from evenfall.testing.gpu import triton_device
from evenfall_kernels import compress_blocks, compress_rows, event_matmul, quantize_rows

DEVICE = triton_device()
pytestmark = pytest.mark.gpu

# batch, units, outputs
SMALL = [(1, 1, 1), (3, 63, 100), (2, 100, 63), (0, 5, 3), (2, 0, 3), (2, 5, 0)]
LARGE = [(17, 5, 3), (3, 2047, 100), (1, 1350, 4050), (64, 1350, 4050)]
SHAPES = SMALL + (LARGE if DEVICE == "cuda" else [])
STORED = [torch.float32, torch.bfloat16, torch.float16, torch.int8]
ALLOWED = {torch.float32: 1e-5, torch.bfloat16: 1e-2}  # bfloat16 rounds the result too
Shape = tuple[int, int, int]


def make_events(shape: Shape, dtype: torch.dtype = torch.float32) -> Tensor:
    """(batch, units), three in ten nonzero."""
    generator = torch.Generator().manual_seed(sum(shape))
    drawn = torch.randn(shape[:2], generator=generator)
    fired = torch.rand(shape[:2], generator=generator) < 0.3
    return (drawn * fired).to(DEVICE, dtype)


def make_weight(shape: Shape) -> Tensor:
    generator = torch.Generator().manual_seed(1 + sum(shape))
    return torch.randn(shape[1:], generator=generator).to(DEVICE)


def assert_near(got: Tensor, want: Tensor, allowed: float) -> None:
    """The largest difference is within `allowed` times the largest value."""
    assert got.shape == want.shape
    if want.numel():
        scale = float(want.abs().max().clamp_min(1e-9))
        torch.testing.assert_close(got.double(), want.double(), rtol=0, atol=allowed * scale)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ALLOWED)
@pytest.mark.parametrize("stored", STORED)
def test_rows_of_silent_units_are_not_read(
    shape: Shape, dtype: torch.dtype, stored: torch.dtype
) -> None:
    events, weight, scale = make_events(shape, dtype), make_weight(shape), None
    if stored == torch.int8:
        weight, scale = quantize_rows(weight)
        exact = weight.double() * scale.double()[:, None]
    else:
        weight = weight.to(stored, copy=True)
        exact = weight.double()
        weight[(events == 0).all(0)] = float("nan")
    with use_backend("triton"):
        out = event_matmul(events, weight, scale=scale)
    assert_near(out, events.double() @ exact, ALLOWED[dtype])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ALLOWED)
@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("columns", [torch.uint16, torch.int32])
def test_compressed_rows(
    shape: Shape, dtype: torch.dtype, stored: torch.dtype, columns: torch.dtype
) -> None:
    events, weight = make_events(shape, dtype), make_weight(shape)
    rows = compress_rows(weight * (weight.abs() > 1), dtype=stored, index_dtype=columns)
    with use_backend("triton"):
        out = event_matmul(events, rows)
    assert_near(out, events.double() @ rows.dense().double(), ALLOWED[dtype])


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape[2] >= 16])
@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("width", [4, 8, 16])
def test_blocks(shape: Shape, stored: torch.dtype, width: int) -> None:
    events, weight = make_events(shape, torch.float32), make_weight(shape)
    blocks = compress_blocks(weight * (weight.abs() > 1.5), width, dtype=stored)
    with use_backend("triton"):
        out = event_matmul(events, blocks)
    assert_near(out, events.double() @ blocks.dense().double(), ALLOWED[torch.float32])


def test_gradients() -> None:
    """Of events, weight, scale and bias."""
    shape, generator = (3, 63, 100), torch.Generator().manual_seed(0)
    scale = torch.rand(63, generator=generator).to(DEVICE) + 0.5
    bias = torch.randn(100, generator=generator).to(DEVICE)
    found = []
    for backend, dtype in (("triton", torch.float32), ("reference", torch.float64)):
        leaves = [
            tensor.to(dtype).requires_grad_()
            for tensor in (make_events(shape), make_weight(shape), scale, bias)
        ]
        with use_backend(backend):
            out = event_matmul(leaves[0], leaves[1], scale=leaves[2], bias=leaves[3])
        found.append([out.detach(), *torch.autograd.grad(out.square().sum(), leaves)])
    for got, want in zip(*found, strict=True):
        assert_near(got, want, 1e-5)


def test_a_nan_reaches_its_own_row_alone() -> None:
    events = torch.tensor([[float("nan"), 0.0], [0.0, 1.0]], device=DEVICE)
    with use_backend("triton"):
        out = event_matmul(events, torch.ones(2, 3, device=DEVICE))
    assert out.isnan().tolist() == [[True] * 3, [False] * 3]
