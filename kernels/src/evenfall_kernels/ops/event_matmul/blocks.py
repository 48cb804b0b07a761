"""Matrices of blocks along a row: short runs of columns are stored whole.

I rows, one per unit   O columns, one per output   n stored blocks
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evenfall.errors import shorten

from .compressed import Compressed, starts_of, stored_entries
from .formats import BLOCK_WIDTHS


@dataclass(frozen=True)
class CompressedBlocks(Compressed):
    """An (I, O) matrix that stores blocks of 4, 8 or 16 neighbouring columns of a row.

    M[i, columns[e] + j] = scale[i] * values[e, j]   for e in range(row_starts[i],
    row_starts[i + 1]), j < width; where blocks of a row overlap, the sum.

    Attributes:
        values: (n, width) float32, bfloat16, float16 or int8; constant, must not require grad.
        columns: (n,) uint16 (for O <= 65536) or int32: the first column of each block. A block can
            start at any column and must end within the row.
        row_starts: (I + 1,) int64.
        shape: (I, O).
        scale: (I,) floating point, or None for 1; required for int8 values.

    Raises:
        TypeError: an attribute is not a tensor, or its dtype is not one of those above.
        ValueError: shapes, devices, columns or row_starts do not match, or scale is not finite.
    """

    def _check_values(self) -> None:
        shape = tuple(self.values.shape)
        if len(shape) != 2 or shape[1] not in BLOCK_WIDTHS:
            raise ValueError(
                f"CompressedBlocks: values must have shape (n, width) with a width of "
                f"{BLOCK_WIDTHS}, got {shape}"
            )


def compress_blocks(
    weight: Tensor,
    width: int,
    *,
    dtype: torch.dtype | None = None,
    index_dtype: torch.dtype | None = None,
) -> CompressedBlocks:
    """Cover the nonzeros of a dense (I, O) floating point matrix with blocks along the rows.

    Each row gets as few blocks as possible: the first starts at the first nonzero, the next at the
    first nonzero behind it, and so on. So a matrix pruned by blocks gets no more of them than were
    kept, wherever these lie. A block that would leave the row starts earlier, padded with zeros.

    Args:
        weight: (I, O), O >= width.
        width: 4, 8 or 16.
        dtype: as in `compress_rows`.
        index_dtype: as in `compress_rows`.

    Raises:
        TypeError: weight is not a floating point tensor, or a dtype is not one of those above.
        ValueError: weight is not 2-D, not finite, narrower than a block, or has too many columns
            for uint16; or width is not one of those above.
    """
    if width not in BLOCK_WIDTHS:
        raise ValueError(
            f"compress_blocks: width must be one of {BLOCK_WIDTHS}, got {shorten(width)}"
        )
    values, scale, index_dtype = stored_entries("compress_blocks", weight, dtype, index_dtype)
    n_units, n_out = values.shape
    if n_out < width:
        raise ValueError(f"compress_blocks: weight must have at least {width} columns, got {n_out}")
    units, firsts, columns = _cover(values != 0, width)
    places = columns.unsqueeze(1) + torch.arange(width, device=values.device)  # (n, width)
    blocks = values[units.unsqueeze(1), places]
    blocks[places < firsts.unsqueeze(1)] = 0  # the columns of the block before
    starts = starts_of(torch.bincount(units, minlength=n_units))
    return CompressedBlocks(blocks, columns.to(index_dtype), starts, (n_units, n_out), scale)


def blocks_per_row(weight: Tensor, width: int) -> Tensor:
    """How many blocks `compress_blocks` stores in each row, (I, O) -> (I,) int64."""
    return torch.bincount(_cover(weight != 0, width)[0], minlength=weight.shape[0])


def _cover(nonzero: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """(I, O) -> the row, the first nonzero and the first column of each block, row by row."""
    n_units, n_out = nonzero.shape
    narrow = {"dtype": torch.int32, "device": nonzero.device}
    behind = torch.full((n_units, n_out + width), n_out, **narrow)
    places = torch.arange(n_out, **narrow)
    behind[:, :n_out] = torch.where(nonzero, places, n_out)
    following = behind.flip(1).cummin(dim=1).values.flip(1)  # the first nonzero from here on
    rows = torch.arange(n_units, device=nonzero.device)
    found_rows, found = [], []
    first = following[:, 0].long()
    while True:
        live = first < n_out
        rows, first = rows[live], first[live]
        if not len(rows):
            break
        found_rows.append(rows)
        found.append(first)
        first = following[rows, first + width].long()
    if not found:
        return rows, first, first
    units, firsts = torch.cat(found_rows), torch.cat(found)
    order = torch.argsort(units, stable=True)
    firsts = firsts[order]
    return units[order], firsts, firsts.clamp(max=n_out - width)
