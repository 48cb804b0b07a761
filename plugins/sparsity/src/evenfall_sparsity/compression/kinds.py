"""The storage forms of a matrix: what each one stores, and how it is made.

I inputs   O outputs
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evenfall_kernels import StoredMatrix, compress_blocks, compress_rows, quantize_rows
from evenfall_kernels.ops.event_matmul.blocks import blocks_per_row

DTYPES = (torch.float32, torch.bfloat16, torch.int8)
WIDTHS = (4, 8, 16)
_SPARSE = 0.7
"""Matrices with a larger share of nonzeros are never smaller or faster with indices."""


@dataclass(frozen=True)
class Kind:
    """A storage form.

    Attributes:
        width: 0 for dense rows, 1 for compressed rows, 4, 8 or 16 for blocks.
        dtype: of the values: float32, bfloat16 or int8.
    """

    width: int
    dtype: torch.dtype

    def __str__(self) -> str:
        name = {0: "rows", 1: "compressed rows"}.get(self.width, f"blocks 1x{self.width}")
        return f"{name}, {str(self.dtype).removeprefix('torch.')}"

    def bytes(self, shape: tuple[int, int], entries: int) -> int:
        """Size of a matrix with so many stored entries: values, or blocks."""
        n_in, n_out = shape
        scale = 4 * n_in if self.dtype == torch.int8 else 0
        values = entries * max(self.width, 1) * self.dtype.itemsize
        if self.width == 0:
            return values + scale
        index = 2 if n_out <= 65536 else 4
        return values + entries * index + 8 * (n_in + 1) + scale

    def store(self, weight: Tensor) -> StoredMatrix:
        """A matrix (I, O) in this form."""
        if self.width:
            compressed = (
                compress_rows(weight, dtype=self.dtype)
                if self.width == 1
                else compress_blocks(weight, self.width, dtype=self.dtype)
            )
            return StoredMatrix(compressed)
        if self.dtype == torch.int8:
            return StoredMatrix(*quantize_rows(weight))
        return StoredMatrix(weight.to(self.dtype).contiguous())


def possible_kinds(weight: Tensor, exact: bool) -> list[Kind]:
    """The forms that a matrix (I, O) can have; with `exact`, those that change no weight."""
    dtypes = [dtype for dtype in DTYPES if not exact or holds_exactly(weight, dtype)]
    widths = [0]
    if density(weight) < _SPARSE:
        widths += [1, *(width for width in WIDTHS if width <= weight.shape[1])]
    return [Kind(width, dtype) for width in widths for dtype in dtypes]


def density(weight: Tensor) -> float:
    """The share of nonzeros; 1 for an empty matrix."""
    return int(weight.count_nonzero()) / weight.numel() if weight.numel() else 1.0


def holds_exactly(weight: Tensor, dtype: torch.dtype) -> bool:
    """Whether every weight has exactly its value in this dtype."""
    if dtype == torch.int8:
        values, scale = quantize_rows(weight)
        wide = torch.promote_types(weight.dtype, torch.float32)
        return torch.equal((values.float() * scale.unsqueeze(1)).to(wide), weight.to(wide))
    return torch.equal(weight.to(dtype).to(weight.dtype), weight)


def entries_per_row(weight: Tensor, width: int) -> Tensor:
    """How many values or blocks each row stores, (I, O) -> (I,) float64."""
    n_in, n_out = weight.shape
    if width == 0:
        return torch.full((n_in,), n_out, dtype=torch.float64)
    if width == 1:
        return (weight != 0).sum(1).double().cpu()
    return blocks_per_row(weight, width).double().cpu()
