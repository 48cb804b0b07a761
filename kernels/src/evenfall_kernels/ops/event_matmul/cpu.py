"""The event product on the CPU: list the units that fired, then add twelve rows at a time.

Twelve rows share one pass over the output, which stays in the first-level cache. Work that takes
longer than waking a thread is split over output columns (dense) or the batch (compressed).

    N batch   I units   O outputs
"""

import numpy as np
import torch
from torch import Tensor

from ...cpu.compiled import compiled
from ...cpu.stored_dtypes import as_stored, widen
from ...cpu.threads import run_split

Array = np.ndarray

# Without nnan and ninf: NaN and infinity in events must reach the output.
_FAST = {"contract", "nsz", "arcp", "reassoc"}
_NO_SCALE: Array = np.empty(0, dtype=np.float32)
_BYTES_PER_THREAD = 8_000_000
_COLUMNS_IN_CACHE = 4096


@compiled(fastmath=_FAST)
def list_fired(events: Array, scale: Array, rows: Array, coefficients: Array) -> int:
    """List the units that fired: their indices to rows, events * scale to coefficients, in order.

    events (I,) float32, scale (I,) float32 or empty for 1, rows (I,) int64, coefficients (I,)
    float32. Returns their number. Callable from other compiled functions.
    """
    count = 0
    for unit in range(events.shape[0]):
        event = events[unit]
        # Written for each unit, counted only if it fired: a branch would often be mispredicted.
        rows[count] = unit
        coefficients[count] = event * scale[unit] if scale.shape[0] else event
        count += event != 0
    return count


@compiled(fastmath=_FAST)
def _add_four(
    total: Array, scales: Array, rows: Array, k: int, weight: Array, start: int, stop: int
) -> None:
    """Add four rows, from position k on, in one pass over total."""
    c0, c1, c2, c3 = scales[k], scales[k + 1], scales[k + 2], scales[k + 3]
    w0, w1 = weight[rows[k], start:stop], weight[rows[k + 1], start:stop]
    w2, w3 = weight[rows[k + 2], start:stop], weight[rows[k + 3], start:stop]
    for j in range(total.shape[0]):
        total[j] += c0 * widen(w0[j]) + c1 * widen(w1[j]) + c2 * widen(w2[j]) + c3 * widen(w3[j])


@compiled(fastmath=_FAST)
def _add_twelve(
    total: Array, scales: Array, rows: Array, k: int, weight: Array, start: int, stop: int
) -> None:
    """Add twelve rows, from position k on: as many streams as the processor prefetches."""
    c0, c1, c2, c3 = scales[k], scales[k + 1], scales[k + 2], scales[k + 3]
    c4, c5, c6, c7 = scales[k + 4], scales[k + 5], scales[k + 6], scales[k + 7]
    c8, c9, c10, c11 = scales[k + 8], scales[k + 9], scales[k + 10], scales[k + 11]
    w0, w1 = weight[rows[k], start:stop], weight[rows[k + 1], start:stop]
    w2, w3 = weight[rows[k + 2], start:stop], weight[rows[k + 3], start:stop]
    w4, w5 = weight[rows[k + 4], start:stop], weight[rows[k + 5], start:stop]
    w6, w7 = weight[rows[k + 6], start:stop], weight[rows[k + 7], start:stop]
    w8, w9 = weight[rows[k + 8], start:stop], weight[rows[k + 9], start:stop]
    w10, w11 = weight[rows[k + 10], start:stop], weight[rows[k + 11], start:stop]
    for j in range(total.shape[0]):
        low = c0 * widen(w0[j]) + c1 * widen(w1[j]) + c2 * widen(w2[j]) + c3 * widen(w3[j])
        mid = c4 * widen(w4[j]) + c5 * widen(w5[j]) + c6 * widen(w6[j]) + c7 * widen(w7[j])
        high = c8 * widen(w8[j]) + c9 * widen(w9[j]) + c10 * widen(w10[j]) + c11 * widen(w11[j])
        total[j] += low + mid + high


@compiled(fastmath=_FAST)
def add_rows_dense(
    out: Array, coefficients: Array, rows: Array, count: int, weight: Array, start: int, stop: int
) -> None:
    """out[start:stop] += sum_k coefficients[k] * weight[rows[k], start:stop], k < count.

    out (O,) float32, coefficients (>= count,) float32, rows (>= count,) int64, weight (I, O) in a
    dtype that `widen` knows. Callable from other compiled functions; bounds are not checked.
    """
    total = out[start:stop]
    k = 0
    while k + 12 <= count:
        _add_twelve(total, coefficients, rows, k, weight, start, stop)
        k += 12
    while k + 4 <= count:
        _add_four(total, coefficients, rows, k, weight, start, stop)
        k += 4
    while k < count:
        coefficient = coefficients[k]
        row = weight[rows[k], start:stop]
        for j in range(total.shape[0]):
            total[j] += coefficient * widen(row[j])
        k += 1


@compiled(fastmath=_FAST)
def event_product(
    out: Array, events: Array, weight: Array, rows: Array, coefficients: Array
) -> None:
    """out = events @ weight, (I,) and (I, O) -> (O,); callable from other compiled functions.

    rows (I,) int64 and coefficients (I,) float32 are scratch arrays.
    """
    out[:] = 0
    count = list_fired(events, _NO_SCALE, rows, coefficients)
    add_rows_dense(out, coefficients, rows, count, weight, 0, out.shape[0])


@compiled(fastmath=_FAST)
def add_rows_compressed(
    out: Array,
    coefficients: Array,
    rows: Array,
    count: int,
    values: Array,
    columns: Array,
    row_starts: Array,
) -> None:
    """out[columns[e]] += coefficients[k] * values[e], k < count, for the entries e of row rows[k].

    columns of any integer dtype, row_starts (I + 1,) int64; the rest as in `add_rows_dense`.
    """
    for k in range(count):
        coefficient = coefficients[k]
        for entry in range(row_starts[rows[k]], row_starts[rows[k] + 1]):
            out[columns[entry]] += coefficient * widen(values[entry])


@compiled(fastmath=_FAST)
def _list_all(events: Array, scale: Array, rows: Array, coefficients: Array, counts: Array) -> int:
    total = 0
    for n in range(events.shape[0]):
        count = list_fired(events[n], scale, rows[n], coefficients[n])
        counts[n] = count
        total += count
    return total


@compiled(fastmath=_FAST)
def _fill_dense(
    out: Array,
    rows: Array,
    coefficients: Array,
    counts: Array,
    weight: Array,
    start: int,
    stop: int,
) -> None:
    for left in range(start, stop, _COLUMNS_IN_CACHE):
        right = min(left + _COLUMNS_IN_CACHE, stop)
        for n in range(out.shape[0]):
            out[n, left:right] = 0
            add_rows_dense(out[n], coefficients[n], rows[n], counts[n], weight, left, right)


@compiled(fastmath=_FAST)
def _fill_compressed(
    out: Array,
    rows: Array,
    coefficients: Array,
    counts: Array,
    values: Array,
    columns: Array,
    row_starts: Array,
    start: int,
    stop: int,
) -> None:
    for n in range(start, stop):
        out[n, :] = 0
        add_rows_compressed(
            out[n], coefficients[n], rows[n], counts[n], values, columns, row_starts
        )


def _list_batch(events: Tensor, scale: Tensor | None) -> tuple[tuple[Array, ...], int]:
    """(rows (N, I), coefficients (N, I), counts (N,)) and how many units fired in total."""
    values = as_stored(events.float())
    factors = _NO_SCALE if scale is None else as_stored(scale.float())
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
    """The same for compressed rows: values and columns (nnz,), row_starts (I + 1,)."""
    units, total = _list_batch(events, scale)
    rows = as_stored(values), columns.contiguous().numpy(), row_starts.contiguous().numpy()
    out = torch.empty(events.shape[0], n_out)
    sums = out.numpy()

    def fill(start: int, stop: int) -> None:
        _fill_compressed(sums, *units, *rows, start, stop)

    row_bytes = (values.nbytes + columns.nbytes) // max(events.shape[1], 1)
    run_split(fill, events.shape[0], total * row_bytes, _BYTES_PER_THREAD)
    return out if out.dtype == events.dtype else out.to(events.dtype)
