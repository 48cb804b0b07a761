"""How the matrix of an event product is stored, and the arrays that compiled loops take.

    format            values                    columns            row_starts
    dense rows        (I, O)                    -                  -
    compressed rows   (nnz,) nonzeros           (nnz,) of each     (I + 1,) into values
    blocks            (n, width), zeros padded  (n,) of the first  (I + 1,) into values
                                                value of each

    M[i, o] = scale[i] * values[i, o]                                                   dense rows
    M[i, columns[e]] = scale[i] * values[e]         row_starts[i] <= e < row_starts[i + 1]    rows
    M[i, columns[e] + j] = scale[i] * values[e, j]  the same e, j < width                   blocks

Values are float32, bfloat16, float16 or int8, columns uint16 (O <= 65536) or int32, row_starts
int64. scale (I,) is one factor per row, None for 1; int8 needs it. Blocks lie along a row, start at
any column and end within the row, so they need not be aligned, to gates for example. Where two
blocks of a row overlap, one of them has zeros.

    I rows, one per unit   O columns, one per output   nnz stored entries   n stored blocks
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...cpu.stored_dtypes import as_stored

Array = np.ndarray

VALUE_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.int8)
INDEX_DTYPES = (torch.uint16, torch.int32)
BLOCK_WIDTHS = (4, 8, 16)
MAX_UINT16_COLUMNS = 65536


class DenseArrays(NamedTuple):
    """Dense rows in a compiled loop; scale is empty for 1."""

    values: Array
    scale: Array


class RowArrays(NamedTuple):
    """Compressed rows in a compiled loop; scale is empty for 1."""

    values: Array
    columns: Array
    row_starts: Array
    scale: Array


class BlockArrays(NamedTuple):
    """Blocks in a compiled loop; scale is empty for 1."""

    values: Array
    columns: Array
    row_starts: Array
    scale: Array


def dense_arrays(values: Tensor, scale: Tensor | None) -> DenseArrays:
    """The memory of dense rows (I, O) on the CPU; shared with the tensors if contiguous."""
    return DenseArrays(as_stored(values), _factors(scale))


def compressed_arrays(
    values: Tensor, columns: Tensor, row_starts: Tensor, scale: Tensor | None
) -> RowArrays | BlockArrays:
    """The memory of compressed rows, values (nnz,), or of blocks, values (n, width)."""
    kind = RowArrays if values.ndim == 1 else BlockArrays
    indices = columns.contiguous().numpy(), row_starts.contiguous().numpy()
    return kind(as_stored(values), *indices, _factors(scale))


def _factors(scale: Tensor | None) -> Array:
    return np.empty(0, np.float32) if scale is None else as_stored(scale.float())
