"""The memory of an EGRU stack as one table of addresses, which a compiled call reads.

A row of the table is a matrix: the address of the function that adds its rows, how its values are
stored, its size, and the addresses of its arrays (0: none). A vector is a matrix of one row.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from torch import Tensor

from ..event_matmul.compressed import Compressed
from ..event_matmul.formats import (
    BlockArrays,
    DenseArrays,
    RowArrays,
    compressed_arrays,
    dense_arrays,
)
from ..event_matmul.stored import StoredMatrix
from .adders import adder_address

Array = np.ndarray
Matrix: TypeAlias = Tensor | Compressed | StoredMatrix
Arrays: TypeAlias = DenseArrays | RowArrays | BlockArrays

# Columns of the table.
ADDER, STORED, ROWS, COLUMNS, VALUES, ENTRY_COLUMNS, ROW_STARTS, SCALE, WIDTH = range(9)

# Values of STORED. Rows are read of dense matrices and vectors of the first three, columns of
# dense matrices of the first four.
ABSENT, FLOAT32, BFLOAT16, FLOAT16, INT8, OTHER = range(6)
_STORED = {"float32": FLOAT32, "uint16": BFLOAT16, "int16": FLOAT16, "int8": INT8}

# Rows of the table: the embedding, the input table, five for each layer, the decoder and its bias.
EMBEDDING, INPUT_TABLE, FIRST_LAYER = range(3)
KERNEL, RECURRENT_KERNEL, BIAS, RECURRENT_BIAS, THRESHOLD = range(5)
PER_LAYER, AFTER_LAYERS = 5, 2


def arrays_of(matrix: Matrix | None) -> Arrays | None:
    """The memory of a contiguous matrix or vector, shared with it."""
    if matrix is None:
        return None
    if isinstance(matrix, StoredMatrix):
        return matrix.arrays()
    if isinstance(matrix, Compressed):
        return compressed_arrays(matrix.values, matrix.columns, matrix.row_starts, matrix.scale)
    return dense_arrays(matrix.detach().reshape(-1, matrix.shape[-1]), None)


def table_of(matrices: list[Arrays | None], columns: list[int]) -> Array:
    """The table, (len(matrices), 9) int64. The arrays must stay alive.

    Args:
        matrices: in the order of the table.
        columns: how many columns each one has.
    """
    table: Array = np.zeros((len(matrices), 9), np.int64)
    for row, matrix, width in zip(table, matrices, columns, strict=True):
        if matrix is None:
            continue
        is_dense = isinstance(matrix, DenseArrays)
        row[ADDER] = adder_address(matrix)
        row[STORED] = _STORED.get(matrix.values.dtype.name, OTHER) if is_dense else OTHER
        row[COLUMNS], row[VALUES] = width, matrix.values.ctypes.data
        row[SCALE] = matrix.scale.ctypes.data if len(matrix.scale) else 0
        if isinstance(matrix, DenseArrays):
            row[ROWS] = len(matrix.values)
        else:
            row[ROWS] = len(matrix.row_starts) - 1
            row[ENTRY_COLUMNS] = matrix.columns.ctypes.data
            row[ROW_STARTS] = matrix.row_starts.ctypes.data
            row[WIDTH] = matrix.values.shape[1] if matrix.values.ndim == 2 else 1
    return table


@intrinsic
def pointer(typing_context: Any, address: Any) -> Any:
    """The address as a pointer, for numba.carray."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.intp), generate
