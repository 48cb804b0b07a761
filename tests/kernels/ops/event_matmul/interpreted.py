"""Run the Triton backend on the CPU and write its largest error, case by case, as JSON.

It runs in its own process, because Triton reads TRITON_INTERPRET when it is first imported. Output
buffers are poisoned with NaN, and so are the weights of units that are silent in the whole batch.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

os.environ["TRITON_INTERPRET"] = "1"

import torch
from torch import Tensor

from evenfall_kernels import compress_blocks, compress_rows, quantize_rows
from evenfall_kernels.ops.event_matmul import triton

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.int8,
}
new_empty = torch.Tensor.new_empty
SHAPES = [(1, 1, 1), (3, 63, 100), (2, 100, 63), (17, 5, 3), (0, 5, 3), (2, 0, 3), (2, 5, 0)]


def new_nan(tensor: Tensor, *shape: int, **options: Any) -> Tensor:
    empty = new_empty(tensor, *shape, **options)
    return empty.fill_(float("nan")) if empty.is_floating_point() else empty


def largest(got: Tensor, want: Tensor) -> float:
    difference = (got.double() - want.double()).abs()
    worst = float(difference.max()) if difference.numel() else 0.0
    return worst if worst == worst else float("inf")


def dense_error(events: Tensor, weight: Tensor, dtype: torch.dtype) -> float:
    stored, scale = (
        quantize_rows(weight) if dtype == torch.int8 else (weight.to(dtype, copy=True), None)
    )
    exact = stored.double() if scale is None else stored.double() * scale.double()[:, None]
    want = events.double() @ exact
    if dtype != torch.int8:
        stored[(events == 0).all(dim=0)] = float("nan")
    return largest(triton.forward(events, stored, scale), want)


def rows_error(events: Tensor, weight: Tensor, dtype: torch.dtype, index: torch.dtype) -> float:
    sparse = weight * (torch.rand(weight.shape) < 0.3)
    rows = compress_rows(sparse, dtype=dtype, index_dtype=index)
    parts = rows.values, rows.columns, rows.row_starts, rows.scale
    out = triton.forward_rows(events, *parts, weight.shape[1])
    return largest(out, events.double() @ rows.dense().double())


def blocks_error(events: Tensor, weight: Tensor, dtype: torch.dtype, width: int) -> float:
    sparse = weight * (torch.rand(weight.shape) < 0.1)
    blocks = compress_blocks(sparse, width, dtype=dtype)
    parts = blocks.values, blocks.columns, blocks.row_starts, blocks.scale
    out = triton.forward_rows(events, *parts, weight.shape[1])
    return largest(out, events.double() @ blocks.dense().double())


def main() -> None:
    torch.manual_seed(0)
    torch.Tensor.new_empty = new_nan
    errors = {}
    for n_batch, n_units, n_out in SHAPES:
        events = torch.randn(n_batch, n_units) * (torch.rand(n_batch, n_units) < 0.3)
        weight = torch.randn(n_units, n_out)
        for name, dtype in DTYPES.items():
            case = f"{name}-{n_batch}x{n_units}x{n_out}"
            errors[f"dense-{case}"] = dense_error(events, weight, dtype)
            errors[f"uint16-{case}"] = rows_error(events, weight, dtype, torch.uint16)
            errors[f"int32-{case}"] = rows_error(events, weight, dtype, torch.int32)
    events = torch.randn(3, 63) * (torch.rand(3, 63) < 0.3)
    for name, dtype in DTYPES.items():
        for width in (4, 8, 16):
            errors[f"blocks-{name}-{width}"] = blocks_error(
                events, torch.randn(63, 100), dtype, width
            )
    transposed = (torch.randn(63, 5) * (torch.rand(63, 5) < 0.3)).t()
    errors["dense-transposed"] = dense_error(transposed, torch.randn(63, 9), torch.float32)
    errors["rows-transposed"] = rows_error(
        transposed, torch.randn(63, 9), torch.float32, torch.uint16
    )
    events = torch.tensor([[float("nan"), 0.0], [0.0, 1.0]])
    out = triton.forward(events, torch.ones(2, 3), None)
    errors["nan"] = largest(out.isnan(), torch.tensor([[True] * 3, [False] * 3]))
    json.dump(errors, sys.stdout)


main()
