"""Functions that add the rows of units that fired, one for each storage format, called by address.

The compiled step calls the function whose address is in a matrix's row of the table. It is compiled
once for all formats, and a format is compiled when a stack first uses it.

    I units   O outputs   nnz stored entries
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, from_dtype, types
from numba.extending import intrinsic

from ...cpu.compiled import compiled_callback
from ..event_matmul.formats import BlockArrays, DenseArrays, RowArrays
from ..event_matmul.loops_compressed import add_blocks, add_rows_compressed
from ..event_matmul.loops_dense import COLUMNS_IN_CACHE, FAST, add_rows_dense

Array = np.ndarray


def _add_dense(
    out: Any, coefficients: Any, rows: Any, count: int, start: int, stop: int,
    units: int, outputs: int, width: int, values: Any, columns: Any, row_starts: Any,
) -> None:  # fmt: skip
    sums, chosen = carray(out, (outputs,)), carray(rows, (count,))
    factors, matrix = carray(coefficients, (count,)), carray(values, (units, outputs))
    for left in range(start, stop, COLUMNS_IN_CACHE):
        right = min(left + COLUMNS_IN_CACHE, stop)
        add_rows_dense(sums, factors, chosen, count, matrix, left, right)


def _add_compressed(
    out: Any, coefficients: Any, rows: Any, count: int, start: int, stop: int,
    units: int, outputs: int, width: int, values: Any, columns: Any, row_starts: Any,
) -> None:  # fmt: skip
    sums, chosen, factors = (
        carray(out, (outputs,)),
        carray(rows, (count,)),
        carray(coefficients, (count,)),
    )
    starts = carray(row_starts, (units + 1,))
    entries, places = carray(values, (starts[units],)), carray(columns, (starts[units],))
    add_rows_compressed(sums, factors, chosen, count, entries, places, starts)


def _add_blocks(
    out: Any, coefficients: Any, rows: Any, count: int, start: int, stop: int,
    units: int, outputs: int, width: int, values: Any, columns: Any, row_starts: Any,
) -> None:  # fmt: skip
    sums, chosen, factors = (
        carray(out, (outputs,)),
        carray(rows, (count,)),
        carray(coefficients, (count,)),
    )
    starts = carray(row_starts, (units + 1,))
    blocks, places = carray(values, (starts[units], width)), carray(columns, (starts[units],))
    add_blocks(sums, factors, chosen, count, blocks, places, starts)


_ADDERS: dict[type, Any] = {
    DenseArrays: _add_dense,
    RowArrays: _add_compressed,
    BlockArrays: _add_blocks,
}


def adder_address(matrix: DenseArrays | RowArrays | BlockArrays) -> int:
    """The address of the function that adds rows of this format; compiled on first use.

    Only the one for dense rows can add a part of the columns; the others need start 0 and stop O.
    """
    places = np.dtype(np.uint16) if isinstance(matrix, DenseArrays) else matrix.columns.dtype
    kind: Any = type(matrix)
    return _callback(kind, matrix.values.dtype, places).address


@cache
def _callback(kind: Any, values: np.dtype, columns: np.dtype) -> Any:
    size, reals, integers = types.intp, types.CPointer(types.float32), types.CPointer(types.int64)
    signature = types.void(
        reals, reals, integers, size, size, size, size, size, size,
        types.CPointer(from_dtype(values)), types.CPointer(from_dtype(columns)), integers,
    )  # fmt: skip
    return compiled_callback(_ADDERS[kind], signature, fastmath=FAST)


@intrinsic
def call_adder(
    typing_context: Any, address: Any, out: Any, coefficients: Any, rows: Any, sizes: Any,
    pointers: Any,
) -> Any:  # fmt: skip
    """Call the function at `address`.

    out and coefficients are float32 arrays, rows an int64 array, sizes the six integers from count
    to width, pointers the addresses of values, columns and row_starts.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(64)
        kind = ir.FunctionType(ir.VoidType(), [byte] * 3 + [word] * 6 + [byte] * 3)
        function = builder.inttoptr(args[0], kind.as_pointer())
        arrays = [
            builder.bitcast(context.make_array(which)(context, builder, array).data, byte)
            for which, array in zip(signature.args[1:4], args[1:4], strict=True)
        ]
        numbers = [builder.extract_value(args[4], i) for i in range(6)]
        memory = [builder.inttoptr(builder.extract_value(args[5], i), byte) for i in range(3)]
        builder.call(function, [*arrays, *numbers, *memory])
        return context.get_dummy_value()

    six, three = types.UniTuple(types.intp, 6), types.UniTuple(types.intp, 3)
    return types.void(types.intp, out, coefficients, rows, six, three), generate
