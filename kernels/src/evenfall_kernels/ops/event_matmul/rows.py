"""Matrices with compressed rows: only nonzeros are stored.

I rows, one per unit   O columns, one per output   nnz stored entries
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .compressed import Compressed, starts_of, stored_entries


@dataclass(frozen=True)
class CompressedRows(Compressed):
    """An (I, O) matrix that stores only its nonzeros, row by row.

    M[i, columns[e]] = scale[i] * values[e]   for e in range(row_starts[i], row_starts[i + 1])

    Attributes:
        values: (nnz,) float32, bfloat16, float16 or int8; constant, must not require grad.
        columns: (nnz,) uint16 (for O <= 65536) or int32; no column twice in a row.
        row_starts: (I + 1,) int64.
        shape: (I, O).
        scale: (I,) floating point, or None for 1; required for int8 values.

    Raises:
        TypeError: an attribute is not a tensor, or its dtype is not one of those above.
        ValueError: shapes, devices, columns or row_starts do not match, or scale is not finite.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.values.is_meta:
            _check_distinct(self)

    def _check_values(self) -> None:
        if self.values.ndim != 1:
            got = tuple(self.values.shape)
            raise ValueError(f"CompressedRows: values must have shape (nnz,), got {got}")


def compress_rows(
    weight: Tensor,
    *,
    dtype: torch.dtype | None = None,
    index_dtype: torch.dtype | None = None,
) -> CompressedRows:
    """Compress the nonzeros of a dense (I, O) floating point matrix.

    Args:
        weight: (I, O).
        dtype: dtype of the values: float32, bfloat16, float16 or int8 (with one scale per row).
            None keeps bfloat16 and float16 and converts all others to float32.
        index_dtype: dtype of the columns: torch.uint16 or torch.int32. None means the smallest
            that fits.

    Raises:
        TypeError: weight is not a floating point tensor, or a dtype is not one of those above.
        ValueError: weight is not 2-D or not finite, or has too many columns for uint16.
    """
    values, scale, index_dtype = stored_entries("compress_rows", weight, dtype, index_dtype)
    nonzero = values != 0
    columns = nonzero.nonzero()[:, 1].to(index_dtype)
    shape = (weight.shape[0], weight.shape[1])
    return CompressedRows(values[nonzero], columns, starts_of(nonzero.sum(dim=1)), shape, scale)


def _check_distinct(rows: CompressedRows) -> None:
    """The compiled loop reads eight entries before it writes the first."""
    columns = rows.columns.int()
    rising = columns.diff() > 0
    inner = rows.row_starts[1:-1]
    rising[inner[(inner > 0) & (inner < columns.shape[0])] - 1] = True
    if bool(rising.all()):
        return
    units = torch.repeat_interleave(rows.row_starts.diff())
    places = units * rows.shape[1] + columns
    if places.unique().shape[0] != places.shape[0]:
        raise ValueError("CompressedRows: columns must not contain a column twice in a row")
