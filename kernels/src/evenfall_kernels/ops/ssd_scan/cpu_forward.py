"""The forward pass of one chunk of ssd_scan on the CPU. Letters are those of cpu_chunk.py."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...cpu.simd import WIDTH
from .cpu_chunk import Chunk, as_rows
from .cpu_passes import EARLIER, finish, prepare


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


def write_output(
    chunk: Chunk, skip: np.ndarray, gate: Tensor | None, y: Tensor, part: tuple[slice, slice]
) -> None:
    """Write the chunk's steps of y (B, L, H, P) in its dtype; `part` is their place in y."""
    sizes, lanes = chunk.sizes, chunk.sizes.width // WIDTH
    direct = y.dtype == torch.float32 and sizes.width == sizes.channels
    shape = (chunk.batch, chunk.steps, sizes.heads, sizes.width)
    out = y if direct else torch.empty(shape)
    per_step = sizes.heads * lanes
    position = (part[1].start * per_step if direct else 0, out.shape[1] * per_step)
    rows = [as_rows(t) for t in (chunk.by_head, chunk.by_group, chunk.before, chunk.x)]
    z: np.ndarray = np.empty((0, WIDTH), np.float32)
    if gate is not None:
        z = as_rows(chunk.load_heads(chunk.signal("z"), gate))
    target = as_rows(out)

    def fill(first: int, stop: int) -> None:
        finish(
            *rows, skip, z, target, chunk.padded, chunk.steps, sizes.heads, lanes,
            sizes.per_group, position, first, stop,
        )  # fmt: skip

    chunk.for_heads(fill, chunk.steps * sizes.width)
    if not direct:
        y[part].copy_(out[..., : sizes.channels])
