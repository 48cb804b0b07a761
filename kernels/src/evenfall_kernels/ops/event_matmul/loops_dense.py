"""Compiled loops over dense rows: list the units that fired, then add twelve rows at a time.

Twelve rows share one pass over the output, which stays in the first-level cache. Other compiled
functions can call these. Bounds are not checked.

    I units   O outputs
"""

from __future__ import annotations

import numpy as np

from ...cpu.compiled import compiled
from ...cpu.stored_dtypes import widen

Array = np.ndarray

# Without nnan and ninf: NaN and infinity in events must reach the output.
FAST = {"contract", "nsz", "arcp", "reassoc"}
NO_SCALE: Array = np.empty(0, dtype=np.float32)
COLUMNS_IN_CACHE = 4096


@compiled(fastmath=FAST)
def list_fired(events: Array, scale: Array, rows: Array, coefficients: Array) -> int:
    """List the units that fired: their indices to rows, events * scale to coefficients, in order.

    events (I,) float32, scale (I,) float32 or empty for 1, rows (I,) int64, coefficients (I,)
    float32. Returns their number.
    """
    count = 0
    for unit in range(events.shape[0]):
        event = events[unit]
        # Written for each unit, counted only if it fired: a branch would often be mispredicted.
        rows[count] = unit
        coefficients[count] = event * scale[unit] if scale.shape[0] else event
        count += event != 0
    return count


@compiled(fastmath=FAST)
def _add_four(
    total: Array, scales: Array, rows: Array, k: int, weight: Array, start: int, stop: int
) -> None:
    """Add four rows, from position k on, in one pass over total."""
    c0, c1, c2, c3 = scales[k], scales[k + 1], scales[k + 2], scales[k + 3]
    w0, w1 = weight[rows[k], start:stop], weight[rows[k + 1], start:stop]
    w2, w3 = weight[rows[k + 2], start:stop], weight[rows[k + 3], start:stop]
    for j in range(total.shape[0]):
        total[j] += c0 * widen(w0[j]) + c1 * widen(w1[j]) + c2 * widen(w2[j]) + c3 * widen(w3[j])


@compiled(fastmath=FAST)
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


@compiled(fastmath=FAST)
def add_rows_dense(
    out: Array, coefficients: Array, rows: Array, count: int, weight: Array, start: int, stop: int
) -> None:
    """out[start:stop] += sum_k coefficients[k] * weight[rows[k], start:stop], k < count.

    out (O,) float32, coefficients (>= count,) float32, rows (>= count,) int64, weight (I, O) in a
    dtype that `widen` knows.
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


@compiled(fastmath=FAST)
def event_product(
    out: Array, events: Array, weight: Array, rows: Array, coefficients: Array
) -> None:
    """out = events @ weight, (I,) and (I, O) -> (O,).

    rows (I,) int64 and coefficients (I,) float32 are scratch arrays.
    """
    out[:] = 0
    count = list_fired(events, NO_SCALE, rows, coefficients)
    add_rows_dense(out, coefficients, rows, count, weight, 0, out.shape[0])
