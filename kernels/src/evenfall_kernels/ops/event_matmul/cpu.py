"""The event product on the CPU: list the units that fired, then add their rows.

Work that takes longer than waking a thread is split over output columns (dense) or the batch
(compressed rows and blocks). The loops are in loops.py.

    N batch   I units   O outputs
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...cpu.compiled import compiled, require_compiler
from ...cpu.stored_dtypes import as_stored
from ...cpu.threads import run_split
from .formats import compressed_arrays
from .loops import add_fired
from .loops_dense import COLUMNS_IN_CACHE, FAST, NO_SCALE, add_rows_dense, list_fired

require_compiler()

Array = np.ndarray

_BYTES_PER_THREAD = 8_000_000


@compiled(fastmath=FAST)
def _list_all(events: Array, scale: Array, rows: Array, coefficients: Array, counts: Array) -> int:
    total = 0
    for n in range(events.shape[0]):
        count = list_fired(events[n], scale, rows[n], coefficients[n])
        counts[n] = count
        total += count
    return total


@compiled(fastmath=FAST)
def _fill_dense(
    out: Array,
    rows: Array,
    coefficients: Array,
    counts: Array,
    weight: Array,
    start: int,
    stop: int,
) -> None:
    for left in range(start, stop, COLUMNS_IN_CACHE):
        right = min(left + COLUMNS_IN_CACHE, stop)
        for n in range(out.shape[0]):
            out[n, left:right] = 0
            add_rows_dense(out[n], coefficients[n], rows[n], counts[n], weight, left, right)


@compiled(fastmath=FAST)
def _fill_compressed(
    out: Array,
    rows: Array,
    coefficients: Array,
    counts: Array,
    matrix: Any,
    start: int,
    stop: int,
) -> None:
    for n in range(start, stop):
        out[n, :] = 0
        add_fired(out[n], coefficients[n], rows[n], counts[n], matrix)


def _list_batch(events: Tensor, scale: Tensor | None) -> tuple[tuple[Array, ...], int]:
    """(rows (N, I), coefficients (N, I), counts (N,)) and how many units fired in total."""
    values = as_stored(events.float())
    factors = NO_SCALE if scale is None else as_stored(scale.float())
    rows: Array = np.empty(values.shape, dtype=np.int64)
    coefficients: Array = np.empty(values.shape, dtype=np.float32)
    counts: Array = np.empty(values.shape[0], dtype=np.int64)
    return (rows, coefficients, counts), _list_all(values, factors, rows, coefficients, counts)


def forward(events: Tensor, weight: Tensor, scale: Tensor | None) -> Tensor:
    """events (N, I), weight (I, O) float32, bfloat16, float16 or int8, scale (I,) -> (N, O)."""
    units, total = _list_batch(events, scale)
    matrix = as_stored(weight)
    width = matrix.shape[1]
    out = torch.empty(events.shape[0], width)
    sums = out.numpy()

    def fill(start: int, stop: int) -> None:
        _fill_dense(sums, *units, matrix, start, stop)

    run_split(fill, width, total * width * matrix.itemsize, _BYTES_PER_THREAD)
    return out if out.dtype == events.dtype else out.to(events.dtype)


def forward_rows(
    events: Tensor,
    values: Tensor,
    columns: Tensor,
    row_starts: Tensor,
    scale: Tensor | None,
    n_out: int,
) -> Tensor:
    """The same for compressed rows, values (nnz,), or blocks, values (n, width)."""
    units, total = _list_batch(events, scale)
    matrix = compressed_arrays(values, columns, row_starts, None)  # the coefficients have the scale
    out = torch.empty(events.shape[0], n_out)
    sums = out.numpy()

    def fill(start: int, stop: int) -> None:
        _fill_compressed(sums, *units, matrix, start, stop)

    row_bytes = (values.nbytes + columns.nbytes) // max(events.shape[1], 1)
    run_split(fill, events.shape[0], total * row_bytes, _BYTES_PER_THREAD)
    return out if out.dtype == events.dtype else out.to(events.dtype)
