"""Products of small matrices against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numba import njit

from evenfall_kernels.cpu.products import COLUMNS, ROWS, add_product


@njit(error_model="numpy")
def run(*arguments: Any) -> None:
    add_product(*arguments)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("count", [1, 7])
def test_a_product_is_added(transposed: bool, count: int) -> None:
    rows, columns = 2 * ROWS, 2 * COLUMNS
    generator = torch.Generator().manual_seed(0)
    out, a, b = (
        torch.randn(*size, generator=generator)
        for size in ((rows, columns), (rows, count), (count, columns))
    )
    right = 0.5 * out.double() + a.double() @ b.double()
    stored = a.T.contiguous() if transposed else a
    strides = (1, rows) if transposed else (count, 1)
    target = torch.full((3 + rows * (columns + 2),), 9.0)
    window = target[3:].view(rows, columns + 2)[:, :columns]
    window.copy_(out)
    run(target.numpy(), 3, columns + 2, stored.flatten().numpy(), 0, *strides,
        b.flatten().numpy(), 0, columns, rows, columns, count, np.float32(0.5))  # fmt: skip
    torch.testing.assert_close(window.double(), right, rtol=1e-6, atol=1e-6)
    assert (target[3:].view(rows, columns + 2)[:, columns:] == 9).all()  # nothing else is written
