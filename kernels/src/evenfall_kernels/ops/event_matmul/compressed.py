"""What compressed rows and blocks share: their tensors, their checks, their choice of dtypes.

I rows, one per unit   O columns, one per output   n stored entries: values or blocks
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor

from .formats import INDEX_DTYPES, MAX_UINT16_COLUMNS, VALUE_DTYPES
from .quantize import check_matrix, quantize_rows
from .reference import to_dense


@dataclass(frozen=True)
class Compressed:
    """An (I, O) matrix that stores some entries row by row; see `formats` for its tensors."""

    values: Tensor
    columns: Tensor
    row_starts: Tensor
    shape: tuple[int, int]
    scale: Tensor | None = None

    def __post_init__(self) -> None:
        _check_dtypes(self)
        self._check_values()
        _check_shapes(self)
        if not self.values.is_meta:
            _check_contents(self)

    def _check_values(self) -> None:
        """Check the number of dimensions of the values."""
        raise NotImplementedError

    @property
    def width(self) -> int:
        """How many columns one entry of `columns` stands for."""
        return 1 if self.values.ndim == 1 else self.values.shape[1]

    @property
    def device(self) -> torch.device:
        """The device of the stored entries."""
        return self.values.device

    @property
    def nbytes(self) -> int:
        """Size of all stored tensors in bytes."""
        return sum(tensor.nbytes for tensor in self.tensors().values())

    def tensors(self) -> dict[str, Tensor]:
        """The stored tensors by the name of the attribute."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def dense(self) -> Tensor:
        """The (I, O) matrix: float32 with a scale, else in the dtype of values."""
        if self.scale is None:
            return to_dense(self.values, self.columns, self.row_starts, self.shape[1])
        values = self.values.float()
        dense = to_dense(values, self.columns, self.row_starts, self.shape[1])
        return dense * self.scale.float().unsqueeze(1)

    def to(self, device: torch.device | str) -> Self:
        """The same matrix on another device."""
        return replace(self, **{name: t.to(device) for name, t in self.tensors().items()})


def stored_entries(
    caller: str, weight: Tensor, dtype: torch.dtype | None, index_dtype: torch.dtype | None
) -> tuple[Tensor, Tensor | None, torch.dtype]:
    """The matrix in the dtype of its values, its scale, and the dtype of its columns.

    Raises:
        TypeError, ValueError: as `compress_rows`; messages begin with `caller`.
    """
    check_matrix(caller, weight)
    weight = weight.detach()
    if dtype is None:
        dtype = weight.dtype if weight.dtype in VALUE_DTYPES else torch.float32
    if dtype not in VALUE_DTYPES:
        raise TypeError(f"{caller}: dtype must be one of {VALUE_DTYPES}, got {dtype}")
    narrow = weight.shape[1] <= MAX_UINT16_COLUMNS
    if index_dtype is None:
        index_dtype = torch.uint16 if narrow else torch.int32
    if index_dtype == torch.uint16 and not narrow:
        raise ValueError(
            f"{caller}: index_dtype torch.uint16 is limited to {MAX_UINT16_COLUMNS} columns, "
            f"weight has {weight.shape[1]} columns: use torch.int32"
        )
    values, scale = quantize_rows(weight) if dtype == torch.int8 else (weight.to(dtype), None)
    if not values.isfinite().all():
        raise ValueError(f"{caller}: weight is too large for {dtype}")
    return values, scale, index_dtype


def starts_of(counts: Tensor) -> Tensor:
    """Numbers of entries in each row, (I,) -> row_starts (I + 1,)."""
    starts = torch.zeros(counts.shape[0] + 1, dtype=torch.int64, device=counts.device)
    starts[1:] = counts.cumsum(dim=0)
    return starts


def _check_dtypes(matrix: Compressed) -> None:
    kind = type(matrix).__name__
    allowed = {"values": VALUE_DTYPES, "columns": INDEX_DTYPES, "row_starts": (torch.int64,)}
    for name in (*allowed, "scale"):
        tensor = getattr(matrix, name)
        if not (isinstance(tensor, Tensor) or (tensor is None and name == "scale")):
            raise TypeError(f"{kind}: {name} must be a Tensor, got {type(tensor).__name__}")
    for name, dtypes in allowed.items():
        got = getattr(matrix, name).dtype
        if got not in dtypes:
            raise TypeError(f"{kind}: dtype of {name} must be one of {dtypes}, got {got}")
    if matrix.scale is not None and not matrix.scale.is_floating_point():
        raise TypeError(f"{kind}: scale must be floating point, got {matrix.scale.dtype}")


def _check_shapes(matrix: Compressed) -> None:
    kind, n_units, entries = type(matrix).__name__, matrix.shape[0], matrix.values.shape[0]
    shapes = {"columns": (entries,), "row_starts": (n_units + 1,), "scale": (n_units,)}
    for name, tensor in matrix.tensors().items():
        want, got = shapes.get(name), tuple(tensor.shape)
        if want is not None and got != want:
            raise ValueError(f"{kind}: {name} must have shape {want}, got {got}")
        if tensor.device != matrix.device:
            raise ValueError(
                f"{kind}: {name} is on {tensor.device}, but values are on {matrix.device}"
            )
        if tensor.requires_grad:
            raise ValueError(
                f"{kind}: {name} requires grad, but compressed matrices are constant: detach it"
            )
    if matrix.values.dtype == torch.int8 and matrix.scale is None:
        raise ValueError(f"{kind}: int8 values need a scale of shape (I,), got None")


def _check_contents(matrix: Compressed) -> None:
    kind, starts = type(matrix).__name__, matrix.row_starts
    entries, last = matrix.values.shape[0], matrix.shape[1] - matrix.width
    if starts[0] != 0 or starts[-1] != entries or (starts.diff() < 0).any():
        raise ValueError(
            f"{kind}: row_starts must start at 0, not decrease, and end at {entries} (values)"
        )
    columns = matrix.columns.int()
    if entries and not 0 <= int(columns.min()) <= int(columns.max()) <= last:
        raise ValueError(
            f"{kind}: columns must be in [0, {last + 1}), got values from "
            f"{int(columns.min())} to {int(columns.max())}"
        )
    if matrix.scale is not None and not matrix.scale.isfinite().all():
        raise ValueError(f"{kind}: scale must be finite, got NaN or infinity")
