"""StoredMatrix: a matrix in any storage format as a module, so that a model can hold and save it.

I inputs   O outputs   n stored entries
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self
from weakref import ref

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evenfall.errors import shorten

from ...common.dispatch import can_be_read
from . import event_matmul
from .blocks import CompressedBlocks
from .compressed import Compressed
from .formats import (
    BlockArrays,
    DenseArrays,
    RowArrays,
    compressed_arrays,
    dense_arrays,
)
from .rows import CompressedRows

FORMATS = {"rows": Tensor, "compressed": CompressedRows, "blocks": CompressedBlocks}
_FEW = 2  # vectors; for more, a dense product, which reads dense rows once, is faster
_FEW_CONVERTED = 8  # as many, if the rows have to be converted to the dtype of the vectors first
_BUFFERS = ("values", "columns", "row_starts", "scale")


@dataclass
class _Checked:
    """The stored matrix after its contents were checked, and what was derived from it."""

    values: Tensor
    matrix: Tensor | Compressed
    arrays: DenseArrays | RowArrays | BlockArrays | None = None
    dense: ref[Tensor] | None = None


class StoredMatrix(nn.Module):
    """A constant (I, O) matrix as buffers: dense rows, compressed rows or blocks.

    `evenfall_kernels.ops.event_matmul.formats` describes the buffers. Calling it multiplies:
    (..., I) -> (..., O). Gradients reach the input.

    Args:
        matrix: (I, O) float32, bfloat16, float16 or int8, `CompressedRows` or `CompressedBlocks`.
        scale: (I,) of a dense int8 matrix.

    Raises:
        TypeError: the matrix is none of these.
        ValueError: the matrix has other than two dimensions, or is int8 without a scale.
    """

    columns: Tensor | None
    row_starts: Tensor | None
    scale: Tensor | None

    def __init__(self, matrix: Tensor | Compressed, scale: Tensor | None = None) -> None:
        super().__init__()
        if not isinstance(matrix, Tensor | Compressed):
            raise TypeError(
                "StoredMatrix: matrix must be a Tensor, CompressedRows or CompressedBlocks, got "
                f"{type(matrix).__name__}"
            )
        if len(matrix.shape) != 2:
            got = tuple(matrix.shape)
            raise ValueError(f"StoredMatrix: matrix must have shape (I, O), got {got}")
        self.shape = (int(matrix.shape[0]), int(matrix.shape[1]))
        found: dict[str, Tensor | None] = {"values": None, "scale": scale}
        if isinstance(matrix, Compressed):
            found |= matrix.tensors()
        else:
            found["values"] = matrix.detach()
        for name in _BUFFERS:
            self.register_buffer(name, found.get(name))
        if self.values.dtype == torch.int8 and self.scale is None:
            raise ValueError("StoredMatrix: an int8 matrix needs a scale of shape (I,), got None")
        self._checked: _Checked | None = None

    @property
    def format(self) -> str:
        """The name of the storage format: "rows", "compressed" or "blocks"."""
        if self.columns is None:
            return "rows"
        return "compressed" if self.values.ndim == 1 else "blocks"

    @property
    def device(self) -> torch.device:
        """The device of the values."""
        return self.values.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of `dense()`."""
        has_scale = self.scale is not None
        return torch.float32 if has_scale else self.values.dtype

    @property
    def nbytes(self) -> int:
        """Size of all buffers in bytes."""
        return sum(buffer.nbytes for buffer in self.buffers())

    def matrix(self) -> Tensor | Compressed:
        """The stored matrix; without the scale if dense."""
        return self._check().matrix

    def arrays(self) -> DenseArrays | RowArrays | BlockArrays:
        """Its memory for compiled loops on the CPU, as `formats` describes it."""
        checked = self._check()
        if checked.arrays is None:
            matrix = checked.matrix
            if isinstance(matrix, Tensor):
                checked.arrays = dense_arrays(matrix, self.scale)
            else:
                parts = matrix.values, matrix.columns, matrix.row_starts, matrix.scale
                checked.arrays = compressed_arrays(*parts)
        return checked.arrays

    def dense(self) -> Tensor:
        """The (I, O) matrix in float32, or in its own floating point dtype if it has no scale.

        It is the same tensor as long as somebody holds the former one.
        """
        checked = self._check()
        dense = None if checked.dense is None else checked.dense()
        if dense is None:
            if isinstance(checked.matrix, Compressed):
                dense = checked.matrix.dense()
            elif self.scale is None:
                return checked.matrix
            else:
                dense = checked.matrix * self.scale.float().unsqueeze(1)
            checked.dense = ref(dense)
        return dense

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """x (..., I) times the matrix, plus bias (O,): (..., O) in the dtype of x.

        Raises:
            TypeError: x is not floating point.
        """
        if not x.is_floating_point():  # a matrix in the dtype of x would be rounded
            raise TypeError(f"StoredMatrix: x must be floating point, got {x.dtype}")
        matrix = self.matrix()
        if isinstance(matrix, Compressed):
            return event_matmul(x, matrix, bias=bias)
        if x.numel() <= _FEW * x.shape[-1] or self._is_mostly_silent(x):
            return event_matmul(x, matrix, scale=self.scale, bias=bias)
        out = x @ self.dense().to(x.dtype)
        return out if bias is None else out + bias.to(x.dtype)

    def _is_mostly_silent(self, x: Tensor) -> bool:
        """Whether adding up rows takes less time than converting them all for a dense product."""
        if self.values.dtype == x.dtype or not can_be_read(x):
            return False
        return int(x.count_nonzero()) <= _FEW_CONVERTED * x.shape[-1]

    def take_columns(self, indices: Tensor) -> Tensor:
        """Some columns of a matrix of dense rows, in float32: indices (...) -> (..., I).

        Raises:
            ValueError: the matrix has another format.
            IndexError: an index is not in [0, O).
        """
        if self.format != "rows":
            raise ValueError(
                f"StoredMatrix: take_columns needs dense rows, got {shorten(self.format)}"
            )
        columns = F.embedding(indices, self.values.t()).float()
        return columns if self.scale is None else columns * self.scale

    def describe(self) -> dict[str, Any]:
        """What `empty` needs, in types of JSON."""
        about: dict[str, Any] = {
            "format": self.format, "shape": list(self.shape), "dtype": _name(self.values.dtype),
            "scale": self.scale is not None,
        }  # fmt: skip
        if self.columns is not None:
            about |= {"entries": self.values.shape[0], "columns": _name(self.columns.dtype)}
        if self.format == "blocks":
            about["width"] = self.values.shape[1]
        return about

    @classmethod
    def empty(cls, about: dict[str, Any], device: torch.device | str = "meta") -> Self:
        """A matrix with the buffers that `describe` stated, without their contents.

        Raises:
            ValueError: the description is incomplete or not one of this version.
        """
        try:
            return cls(*_empty_matrix(**about)).to_empty(device=device)
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"StoredMatrix: cannot read the description {about}: {error}"
            ) from None

    def extra_repr(self) -> str:
        return ", ".join(f"{key}={value}" for key, value in self.describe().items())

    def _check(self) -> _Checked:
        """The stored matrix, its contents checked when its tensors are new: loops do not check."""
        if self._checked is None or self._checked.values is not self.values:
            matrix: Tensor | Compressed = self.values
            if self.columns is not None:
                kind: Any = FORMATS[self.format]
                matrix = kind(self.values, self.columns, self.row_starts, self.shape, self.scale)
            self._checked = _Checked(self.values, matrix)
        return self._checked

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._checked = None
        super()._load_from_state_dict(*args, **kwargs)

    def _apply(self, *args: Any, **kwargs: Any) -> Self:
        self._checked, scale = None, self.scale
        super()._apply(*args, **kwargs)
        if scale is not None and self.scale is not None and self.scale.dtype != scale.dtype:
            # A model in bfloat16 has the same numbers.
            self.scale = scale.to(self.scale.device)
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_checked": None}  # a copy's arrays would be others


def _empty_matrix(
    format: str,
    shape: tuple[int, int],
    dtype: str,
    scale: bool,
    entries: int = 0,
    columns: str = "uint16",
    width: int = 0,
) -> tuple[Any, ...]:
    """The matrix of a description on the meta device, and the scale if it is dense."""
    n_in, n_out = shape
    shapes = {"rows": (n_in, n_out), "compressed": (entries,), "blocks": (entries, width)}
    if format not in shapes:
        raise ValueError(f"format must be one of {tuple(shapes)}, got {shorten(format)}")
    values = torch.empty(shapes[format], dtype=getattr(torch, dtype), device="meta")
    factors = torch.empty(n_in, dtype=torch.float32, device="meta") if scale else None
    if format == "rows":
        return values, factors
    at = torch.empty(entries, dtype=getattr(torch, columns), device="meta")
    starts = torch.empty(n_in + 1, dtype=torch.int64, device="meta")
    return (FORMATS[format](values, at, starts, (n_in, n_out), factors),)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
