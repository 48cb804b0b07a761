"""Matrices whose rows are compressed (only nonzeros stored) or quantized (one scale a row).

I rows, one a unit   O columns, one an output   nnz stored entries
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from .reference import to_dense

VALUE_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.int8)
INDEX_DTYPES = (torch.uint16, torch.int32)
_COLUMNS_OF_UINT16 = 65536


@dataclass(frozen=True)
class CompressedRows:
    """An (I, O) matrix of which only the nonzeros are stored, row by row.

    M[i, columns[e]] = scale[i] * values[e]   for e in range(row_starts[i], row_starts[i + 1])

    Attributes:
        values: (nnz,) float32, bfloat16, float16 or int8. Never trained: must not require grad.
        columns: (nnz,) uint16 where O <= 65536, or int32. No column twice in a row.
        row_starts: (I + 1,) int64.
        shape: (I, O).
        scale: (I,) floating point, or None for 1. Required for int8 values.

    Raises:
        TypeError: an attribute is not a tensor, or its dtype is not one of those above.
        ValueError: shapes, devices or row_starts contradict one another, or scale is not finite.
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
        """Where the stored entries lie."""
        return self.values.device

    @property
    def nbytes(self) -> int:
        """Bytes of all that is stored."""
        return sum(tensor.nbytes for tensor in _tensors(self).values())

    def dense(self) -> Tensor:
        """The (I, O) matrix: float32 where there is a scale, else in the dtype of values."""
        if self.scale is None:
            return to_dense(self.values, self.columns, self.row_starts, self.shape[1])
        values = self.values.float()
        dense = to_dense(values, self.columns, self.row_starts, self.shape[1])
        return dense * self.scale.float().unsqueeze(1)

    def to(self, device: torch.device | str) -> "CompressedRows":
        """The same matrix on another device."""
        moved = {name: tensor.to(device) for name, tensor in _tensors(self).items()}
        return CompressedRows(shape=self.shape, **moved)


def compress_rows(
    weight: Tensor,
    *,
    dtype: torch.dtype | None = None,
    index_dtype: torch.dtype | None = None,
) -> CompressedRows:
    """Compress the nonzeros of a dense (I, O) floating point matrix.

    Args:
        weight: (I, O).
        dtype: of the values: float32, bfloat16, float16 or int8 (with one scale a row). None keeps
            bfloat16 and float16 and makes anything else float32.
        index_dtype: of the columns: torch.uint16 or torch.int32. None takes the smallest that fits.

    Raises:
        TypeError: weight is not a floating point tensor, or a dtype is not one of those above.
        ValueError: weight is not 2-D, is not finite, or has more columns than uint16 can name.
    """
    _check_matrix("compress_rows", weight)
    weight = weight.detach()
    if dtype is None:
        dtype = weight.dtype if weight.dtype in VALUE_DTYPES else torch.float32
    if dtype not in VALUE_DTYPES:
        raise TypeError(f"compress_rows: dtype is {dtype}, want one of {VALUE_DTYPES}")
    narrow = weight.shape[1] <= _COLUMNS_OF_UINT16
    if index_dtype is None:
        index_dtype = torch.uint16 if narrow else torch.int32
    if index_dtype == torch.uint16 and not narrow:
        raise ValueError(
            f"compress_rows: weight has {weight.shape[1]} columns, torch.uint16 names at most "
            f"{_COLUMNS_OF_UINT16}: use torch.int32"
        )
    stored, scale = quantize_rows(weight) if dtype == torch.int8 else (weight.to(dtype), None)
    kept = stored != 0
    row_starts = torch.zeros(weight.shape[0] + 1, dtype=torch.int64, device=weight.device)
    row_starts[1:] = kept.sum(dim=1).cumsum(dim=0)
    columns = kept.nonzero()[:, 1].to(index_dtype)
    shape = (weight.shape[0], weight.shape[1])
    return CompressedRows(stored[kept], columns, row_starts, shape, scale)


def quantize_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Symmetric int8 with one scale a row: q[i] = round(W[i] / s[i]), s[i] = max|W[i]| / 127.

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
    named = {field.name: getattr(rows, field.name) for field in fields(rows)}
    return {name: value for name, value in named.items() if isinstance(value, Tensor)}


def _check_matrix(caller: str, weight: Tensor) -> None:
    if not isinstance(weight, Tensor):
        raise TypeError(f"{caller}: weight is {type(weight).__name__}, want a Tensor")
    if not weight.is_floating_point():
        raise TypeError(f"{caller}: weight is {weight.dtype}, want a floating point dtype")
    if weight.ndim != 2:
        raise ValueError(f"{caller}: weight has shape {tuple(weight.shape)}, want (I, O)")
    if not weight.isfinite().all():
        raise ValueError(f"{caller}: weight holds NaN or infinity, want finite values")


def _check_dtypes(rows: CompressedRows) -> None:
    wanted = {"values": VALUE_DTYPES, "columns": INDEX_DTYPES, "row_starts": (torch.int64,)}
    for name in (*wanted, "scale"):
        tensor = getattr(rows, name)
        if not (isinstance(tensor, Tensor) or (tensor is None and name == "scale")):
            raise TypeError(f"CompressedRows: {name} is {type(tensor).__name__}, want a Tensor")
    for name, dtypes in wanted.items():
        got = getattr(rows, name).dtype
        if got not in dtypes:
            raise TypeError(f"CompressedRows: {name} is {got}, want one of {dtypes}")
    if rows.scale is not None and not rows.scale.is_floating_point():
        raise TypeError(f"CompressedRows: scale is {rows.scale.dtype}, want a floating point dtype")


def _check_shapes(rows: CompressedRows) -> None:
    n_units, stored = rows.shape[0], (rows.values.numel(),)
    wanted = {
        "values": stored,
        "columns": stored,
        "row_starts": (n_units + 1,),
        "scale": (n_units,),
    }
    for name, tensor in _tensors(rows).items():
        if tuple(tensor.shape) != wanted[name]:
            got = tuple(tensor.shape)
            raise ValueError(f"CompressedRows: {name} has shape {got}, want {wanted[name]}")
        if tensor.device != rows.device:
            raise ValueError(
                f"CompressedRows: {name} lies on {tensor.device}, values on {rows.device}"
            )
        if tensor.requires_grad:
            raise ValueError(
                f"CompressedRows: {name} requires grad, but compressed rows are fixed: detach it"
            )
    if rows.values.dtype == torch.int8 and rows.scale is None:
        raise ValueError("CompressedRows: int8 values want a scale of shape (I,), got None")


def _check_contents(rows: CompressedRows) -> None:
    starts, n_out = rows.row_starts, rows.shape[1]
    if starts[0] != 0 or starts[-1] != rows.values.shape[0] or (starts.diff() < 0).any():
        raise ValueError(
            f"CompressedRows: row_starts must rise from 0 to {rows.values.shape[0]}, the number of "
            "values"
        )
    columns = rows.columns.int()
    if columns.numel() and not 0 <= int(columns.min()) <= int(columns.max()) < n_out:
        raise ValueError(
            f"CompressedRows: columns lie in [{int(columns.min())}, {int(columns.max())}], want "
            f"[0, {n_out})"
        )
    if rows.scale is not None and not rows.scale.isfinite().all():
        raise ValueError("CompressedRows: scale holds NaN or infinity, want finite values")
