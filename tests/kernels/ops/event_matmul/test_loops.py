"""The compiled loops of every storage format, called as other kernels call them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numba import njit
from torch import Tensor

from evenfall_kernels.ops.event_matmul.formats import (
    VALUE_DTYPES,
    compressed_arrays,
    dense_arrays,
)
from evenfall_kernels.ops.event_matmul.loops import add_fired, multiply_fired
from evenfall_kernels.ops.event_matmul.loops_compressed import add_blocks
from evenfall_kernels.ops.event_matmul.reference import to_dense

UNITS, OUTPUTS = 37, 101


def make_values(dtype: torch.dtype, *shape: int) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return (values * 20).to(dtype) if dtype == torch.int8 else values.to(dtype)


def make_starts(limit: int) -> Tensor:
    """Rows of 0 to `limit` entries, among them empty ones."""
    counts = torch.randint(0, limit + 1, (UNITS,), generator=torch.Generator().manual_seed(1))
    return torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])


def make_events() -> Tensor:
    generator = torch.Generator().manual_seed(2)
    fired = torch.rand(UNITS, generator=generator) < 0.4
    return torch.randn(UNITS, generator=generator) * fired


def product(matrix: Any, events: Tensor) -> Tensor:
    out = np.full(OUTPUTS, np.nan, np.float32)
    scratch = np.empty(UNITS, np.int64), np.empty(UNITS, np.float32)
    multiply_fired(out, events.numpy(), matrix, *scratch)
    return torch.from_numpy(out).double()


def assert_close(got: Tensor, want: Tensor) -> None:
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("dtype", VALUE_DTYPES)
def test_dense_rows(dtype: torch.dtype) -> None:
    values, scale, events = make_values(dtype, UNITS, OUTPUTS), torch.rand(UNITS), make_events()
    want = (events * scale).double() @ values.double()
    assert_close(product(dense_arrays(values, scale), events), want)


@pytest.mark.parametrize("index", [torch.uint16, torch.int32])
@pytest.mark.parametrize("dtype", VALUE_DTYPES)
def test_compressed_rows(dtype: torch.dtype, index: torch.dtype) -> None:
    starts, events = make_starts(30), make_events()
    rows = [torch.randperm(OUTPUTS)[: int(size)] for size in starts.diff()]
    columns, values = torch.cat(rows), make_values(dtype, int(starts[-1]))
    want = events.double() @ to_dense(values.double(), columns, starts, OUTPUTS)
    assert_close(product(compressed_arrays(values, columns.to(index), starts, None), events), want)


@pytest.mark.parametrize("width", [4, 8, 16])
@pytest.mark.parametrize("dtype", VALUE_DTYPES)
def test_blocks_at_any_column(dtype: torch.dtype, width: int) -> None:
    starts, events = make_starts(5), make_events()
    columns = torch.randint(0, OUTPUTS - width + 1, (int(starts[-1]),))
    columns[:2] = torch.tensor([0, OUTPUTS - width])
    values = make_values(dtype, int(starts[-1]), width)
    want = events.double() @ to_dense(values.double(), columns, starts, OUTPUTS)
    for index in (torch.uint16, torch.int32):
        matrix = compressed_arrays(values, columns.to(index), starts, None)
        assert_close(product(matrix, events), want)


@pytest.mark.parametrize("width", [4, 8, 16])
def test_a_block_is_one_vector_operation(width: int) -> None:
    """Left to LLVM, a loop over the block may stay scalar, and only its time would show it."""
    afresh = njit(add_blocks.py_func)  # cached machine code cannot be inspected
    matrix = compressed_arrays(
        torch.ones(1, width), torch.zeros(1).to(torch.uint16), torch.tensor([0, 1]), None
    )
    afresh(np.zeros(16, np.float32), np.ones(1, np.float32), np.zeros(1, np.int64), 1, *matrix[:3])
    (code,) = afresh.inspect_llvm().values()
    assert f"<{width} x float>" in code


def test_add_fired_is_for_compiled_code() -> None:
    with pytest.raises(TypeError, match="only be called by compiled functions"):
        add_fired(*[None] * 5)  # type: ignore[arg-type]
