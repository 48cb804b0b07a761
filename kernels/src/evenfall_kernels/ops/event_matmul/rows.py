"""Matrices with compressed rows (only nonzeros stored) or quantized rows (int8, one scale per row).

I rows, one per unit   O columns, one per output   nnz stored entries
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from .reference import to_dense

VALUE_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.int8)
INDEX_DTYPES = (torch.uint16, torch.int32)
_MAX_UINT16_COLUMNS = 65536


@dataclass(frozen=True)
class CompressedRows:
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

    values: Tensor
    columns: Tensor
    row_starts: Tensor
    shape: tuple[int, int]
    scale: Tensor | None = None

    def __post_init__(self) -> None:
        _check_dtypes(self)
        _check_shapes(self)
        if not self.values.is_meta:
            _check_contents(self)

    @property
    def device(self) -> torch.device:
        """The device of the stored entries."""
        return self.values.device

    @property
    def nbytes(self) -> int:
        """Size of all stored tensors in bytes."""
        return sum(tensor.nbytes for tensor in _tensors(self).values())

    def dense(self) -> Tensor:
        """The (I, O) matrix: float32 with a scale, else in the dtype of values."""
        if self.scale is None:
            return to_dense(self.values, self.columns, self.row_starts, self.shape[1])
        values = self.values.float()
        dense = to_dense(values, self.columns, self.row_starts, self.shape[1])
        return dense * self.scale.float().unsqueeze(1)

    def to(self, device: torch.device | str) -> "CompressedRows":
        """The same matrix on another device."""
        tensors = {name: tensor.to(device) for name, tensor in _tensors(self).items()}
        return CompressedRows(shape=self.shape, **tensors)


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
    _check_matrix("compress_rows", weight)
    weight = weight.detach()
    if dtype is None:
        dtype = weight.dtype if weight.dtype in VALUE_DTYPES else torch.float32
    if dtype not in VALUE_DTYPES:
        raise TypeError(f"compress_rows: dtype must be one of {VALUE_DTYPES}, got {dtype}")
    narrow = weight.shape[1] <= _MAX_UINT16_COLUMNS
    if index_dtype is None:
        index_dtype = torch.uint16 if narrow else torch.int32
    if index_dtype == torch.uint16 and not narrow:
        raise ValueError(
            f"compress_rows: index_dtype torch.uint16 is limited to {_MAX_UINT16_COLUMNS} columns, "
            f"weight has {weight.shape[1]} columns: use torch.int32"
        )
    values, scale = quantize_rows(weight) if dtype == torch.int8 else (weight.to(dtype), None)
    nonzero = values != 0
    row_starts = torch.zeros(weight.shape[0] + 1, dtype=torch.int64, device=weight.device)
    row_starts[1:] = nonzero.sum(dim=1).cumsum(dim=0)
    columns = nonzero.nonzero()[:, 1].to(index_dtype)
    shape = (weight.shape[0], weight.shape[1])
    return CompressedRows(values[nonzero], columns, row_starts, shape, scale)


def quantize_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Symmetric int8 with one scale per row: q[i] = round(W[i] / s[i]), s[i] = max|W[i]| / 127.

    Args:
        weight: (I, O) floating point, finite.

    Returns:
        (q (I, O) int8, s (I,) float32); |W - s q| <= s / 2. A row of zeros has scale 1.

    Raises:
        TypeError: weight is not a floating point tensor.
        ValueError: weight is not 2-D or not finite.
    """
    _check_matrix("quantize_rows", weight)
    weight = weight.detach().float()
    if weight.shape[1] == 0:
        return weight.to(torch.int8), weight.new_ones(weight.shape[0])
    scale = weight.abs().amax(dim=1) / 127
    scale = torch.where(scale > 0, scale, 1.0)
    return (weight / scale.unsqueeze(1)).round().clamp(-127, 127).to(torch.int8), scale


def _tensors(rows: CompressedRows) -> dict[str, Tensor]:
    values = {field.name: getattr(rows, field.name) for field in fields(rows)}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def _check_matrix(caller: str, weight: Tensor) -> None:
    if not isinstance(weight, Tensor):
        raise TypeError(f"{caller}: weight must be a Tensor, got {type(weight).__name__}")
    if not weight.is_floating_point():
        raise TypeError(f"{caller}: weight must be floating point, got {weight.dtype}")
    if weight.ndim != 2:
        raise ValueError(f"{caller}: weight must have shape (I, O), got {tuple(weight.shape)}")
    if not weight.isfinite().all():
        raise ValueError(f"{caller}: weight must be finite, got NaN or infinity")


def _check_dtypes(rows: CompressedRows) -> None:
    allowed = {"values": VALUE_DTYPES, "columns": INDEX_DTYPES, "row_starts": (torch.int64,)}
    for name in (*allowed, "scale"):
        tensor = getattr(rows, name)
        if not (isinstance(tensor, Tensor) or (tensor is None and name == "scale")):
            raise TypeError(f"CompressedRows: {name} must be a Tensor, got {type(tensor).__name__}")
    for name, dtypes in allowed.items():
        got = getattr(rows, name).dtype
        if got not in dtypes:
            raise TypeError(f"CompressedRows: dtype of {name} must be one of {dtypes}, got {got}")
    if rows.scale is not None and not rows.scale.is_floating_point():
        raise TypeError(f"CompressedRows: scale must be floating point, got {rows.scale.dtype}")


def _check_shapes(rows: CompressedRows) -> None:
    n_units, n_values = rows.shape[0], rows.values.numel()
    shapes = {
        "values": (n_values,),
        "columns": (n_values,),
        "row_starts": (n_units + 1,),
        "scale": (n_units,),
    }
    for name, tensor in _tensors(rows).items():
        if tuple(tensor.shape) != shapes[name]:
            got = tuple(tensor.shape)
            raise ValueError(f"CompressedRows: {name} must have shape {shapes[name]}, got {got}")
        if tensor.device != rows.device:
            raise ValueError(
                f"CompressedRows: {name} is on {tensor.device}, but values are on {rows.device}"
            )
        if tensor.requires_grad:
            raise ValueError(
                f"CompressedRows: {name} requires grad, but compressed rows are constant: detach it"
            )
    if rows.values.dtype == torch.int8 and rows.scale is None:
        raise ValueError("CompressedRows: int8 values need a scale of shape (I,), got None")


def _check_contents(rows: CompressedRows) -> None:
    starts, n_out = rows.row_starts, rows.shape[1]
    if starts[0] != 0 or starts[-1] != rows.values.shape[0] or (starts.diff() < 0).any():
        raise ValueError(
            "CompressedRows: row_starts must start at 0, not decrease, and end at "
            f"{rows.values.shape[0]} (values)"
        )
    columns = rows.columns.int()
    if columns.numel() and not 0 <= int(columns.min()) <= int(columns.max()) < n_out:
        raise ValueError(
            f"CompressedRows: columns must be in [0, {n_out}), got values from "
            f"{int(columns.min())} to {int(columns.max())}"
        )
    if rows.scale is not None and not rows.scale.isfinite().all():
        raise ValueError("CompressedRows: scale must be finite, got NaN or infinity")
