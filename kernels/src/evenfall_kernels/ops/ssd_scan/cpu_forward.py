"""A chunk of ssd_scan's forward pass, run again for the backward pass, by PyTorch's products.

Letters are those of cpu_chunk.py.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...cpu.simd import WIDTH
from .cpu_chunk import Chunk, as_rows
from .cpu_passes import EARLIER, prepare


def run_chunk(chunk: Chunk, state: Tensor) -> None:
    """by_head = (C B^T * decays * dt) x and by_group = C state, for a loaded chunk."""
    torch.bmm(chunk.C, chunk.B.transpose(1, 2), out=chunk.product)
    run_prepare(chunk)
    torch.bmm(chunk.matrix, chunk.x, out=chunk.by_head)
    torch.bmm(chunk.C, state, out=chunk.by_group)


def run_prepare(chunk: Chunk, with_matrix: bool = True) -> None:
    """The chunk's decays and `scaled`, and the matrix unless it is not wanted."""
    sizes = chunk.sizes
    names = ("dt", "decay", "high", "low", "before", "after")
    rows = [as_rows(getattr(chunk, name)) for name in names]
    others = [as_rows(t) for t in (chunk.product, chunk.matrix, chunk.x, chunk.scaled)]
    total = chunk.total.numpy()
    blocks, lanes = chunk.padded // WIDTH, sizes.width // WIDTH

    def fill(first: int, stop: int) -> None:
        prepare(*rows, total, *others, EARLIER, blocks, lanes, sizes.per_group, with_matrix,
                first, stop)  # fmt: skip

    chunk.for_heads(fill, chunk.padded * (chunk.padded + sizes.width))
