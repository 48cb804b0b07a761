"""The event product in Triton, for GPUs; TRITON_INTERPRET=1 runs it on the CPU.

The units that fired are listed without synchronising with the host. Dense: one program per block of
columns and batch row goes through the list, a few rows at a time. Compressed rows and blocks: one
program per few listed rows and batch row adds their entries to the output atomically, so the last
bit of a sum can differ between runs.

    N batch   I units   O outputs   nnz stored entries
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...common.device import alert_not_deterministic, on_its_device

_ROWS, _COLUMNS = 16, 64
_ROWS_PER_PROGRAM, _ENTRIES = 8, 256


@triton.jit
def _dense_kernel(
    out_ptr,
    coefficients_ptr,
    rows_ptr,
    counts_ptr,
    weight_ptr,
    n_units,
    n_out,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    n = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = columns < n_out
    count = tl.load(counts_ptr + n)
    total = tl.zeros((COLUMNS,), dtype=tl.float32)
    for first in range(0, count, ROWS):
        k = first + tl.arange(0, ROWS)
        live = k < count
        row = tl.load(rows_ptr + n * n_units + k, mask=live, other=0)
        coefficient = tl.load(coefficients_ptr + n * n_units + k, mask=live, other=0.0)
        entries = weight_ptr + row[:, None] * n_out + columns[None, :]  # (ROWS, COLUMNS)
        weight = tl.load(entries, mask=live[:, None] & inside[None, :], other=0).to(tl.float32)
        total += tl.sum(coefficient[:, None] * weight, axis=0)
    tl.store(out_ptr + n * n_out + columns, total, mask=inside)


@triton.jit
def _rows_kernel(
    out_ptr,
    coefficients_ptr,
    rows_ptr,
    counts_ptr,
    values_ptr,
    columns_ptr,
    starts_ptr,
    n_units,
    n_out,
    ROWS: tl.constexpr,
    ENTRIES: tl.constexpr,
    WIDTH: tl.constexpr,
):
    blocks = tl.cdiv(n_units, ROWS)
    n = (tl.program_id(0) // blocks).to(tl.int64)
    first = tl.program_id(0) % blocks * ROWS
    last = tl.minimum(first + ROWS, tl.load(counts_ptr + n))
    for k in range(first, last):
        row = tl.load(rows_ptr + n * n_units + k)
        coefficient = tl.load(coefficients_ptr + n * n_units + k)
        start = tl.load(starts_ptr + row) * WIDTH
        stop = tl.load(starts_ptr + row + 1) * WIDTH
        for left in range(start, stop, ENTRIES):
            entries = left + tl.arange(0, ENTRIES)
            live = entries < stop
            value = tl.load(values_ptr + entries, mask=live, other=0).to(tl.float32)
            column = tl.load(columns_ptr + entries // WIDTH, mask=live, other=0).to(tl.int32)
            place = out_ptr + n * n_out + column + entries % WIDTH
            tl.atomic_add(place, coefficient * value, mask=live, sem="relaxed")


def _list_batch(events: Tensor, scale: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """coefficients (N, I) and rows (N, I), first those of units that fired; counts (N,)."""
    events = events.contiguous()  # argsort keeps strides, and the kernels take none
    silent = events == 0
    rows = torch.argsort(silent, dim=1, stable=True)
    coefficients = events.float() if scale is None else events.float() * scale.float()
    counts = (~silent).sum(dim=1, dtype=torch.int32)
    return coefficients.gather(1, rows), rows, counts


@on_its_device
def forward(events: Tensor, weight: Tensor, scale: Tensor | None) -> Tensor:
    """events (N, I), weight (I, O) float32, bfloat16, float16 or int8, scale (I,) -> (N, O)."""
    (n_batch, n_units), n_out = events.shape, weight.shape[1]
    out = events.new_empty(n_batch, n_out, dtype=torch.float32)
    if out.numel():
        grid = (n_batch, triton.cdiv(n_out, _COLUMNS))
        units = _list_batch(events, scale)
        _dense_kernel[grid](
            out, *units, weight.contiguous(), n_units, n_out, ROWS=_ROWS, COLUMNS=_COLUMNS
        )
    return out.to(events.dtype)


@on_its_device
def forward_rows(
    events: Tensor,
    values: Tensor,
    columns: Tensor,
    row_starts: Tensor,
    scale: Tensor | None,
    n_out: int,
) -> Tensor:
    """The same for compressed rows, values (nnz,), or blocks, values (n, width)."""
    n_batch, n_units = events.shape
    out = events.new_zeros(n_batch, n_out, dtype=torch.float32)
    if out.numel() and values.numel():
        alert_not_deterministic("event_matmul of compressed rows or blocks in Triton")
        grid = (n_batch * triton.cdiv(n_units, _ROWS_PER_PROGRAM),)  # other axes: 65,535 programs
        matrix = (part.contiguous() for part in (values, columns, row_starts))
        _rows_kernel[grid](
            out,
            *_list_batch(events, scale),
            *matrix,
            n_units,
            n_out,
            ROWS=_ROWS_PER_PROGRAM,
            ENTRIES=_ENTRIES,
            WIDTH=1 if values.ndim == 1 else values.shape[1],
        )
    return out.to(events.dtype)
