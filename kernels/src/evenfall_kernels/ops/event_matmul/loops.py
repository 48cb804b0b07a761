"""One compiled function for every storage format: Numba chooses the loop by the type of the arrays.

I units   O outputs
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from ...cpu.compiled import compiled
from .formats import BlockArrays, DenseArrays, RowArrays
from .loops_compressed import add_blocks, add_rows_compressed
from .loops_dense import COLUMNS_IN_CACHE, FAST, add_rows_dense, list_fired

Array = np.ndarray


def add_fired(out: Any, coefficients: Any, rows: Any, count: Any, matrix: Any) -> None:
    """out += sum_k coefficients[k] * values of row rows[k], k < count, in compiled code only.

    out (O,) float32, coefficients (>= count,) float32 with the matrix's scale in it, rows (>=
    count,) int64, as `list_fired` writes them; matrix DenseArrays, RowArrays or BlockArrays of
    `formats`. Bounds are not checked.
    """
    raise TypeError("add_fired can only be called by compiled functions")


@overload(add_fired)
def _choose(out: Any, coefficients: Any, rows: Any, count: Any, matrix: Any) -> Any:
    kind = matrix.instance_class if isinstance(matrix, types.BaseNamedTuple) else None
    if kind is DenseArrays:
        return _add_dense
    if kind is RowArrays:
        return _add_compressed
    return _add_blocks if kind is BlockArrays else None


def _add_dense(out: Any, coefficients: Any, rows: Any, count: Any, matrix: Any) -> None:
    width = out.shape[0]
    for left in range(0, width, COLUMNS_IN_CACHE):
        right = min(left + COLUMNS_IN_CACHE, width)
        add_rows_dense(out, coefficients, rows, count, matrix.values, left, right)


def _add_compressed(out: Any, coefficients: Any, rows: Any, count: Any, matrix: Any) -> None:
    add_rows_compressed(
        out, coefficients, rows, count, matrix.values, matrix.columns, matrix.row_starts
    )


def _add_blocks(out: Any, coefficients: Any, rows: Any, count: Any, matrix: Any) -> None:
    add_blocks(out, coefficients, rows, count, matrix.values, matrix.columns, matrix.row_starts)


@compiled(fastmath=FAST)
def multiply_fired(
    out: Array, events: Array, matrix: Any, rows: Array, coefficients: Array
) -> None:
    """out = events @ matrix, (I,) -> (O,), for arrays of `formats`.

    rows (I,) int64 and coefficients (I,) float32 are scratch arrays.
    """
    out[:] = 0
    count = list_fired(events, matrix.scale, rows, coefficients)
    add_fired(out, coefficients, rows, count, matrix)
