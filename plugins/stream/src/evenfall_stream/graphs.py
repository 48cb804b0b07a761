"""Flat batches of points: what every function that takes `(x, batch)` checks first.

N points   D coordinates   B graphs
"""

from __future__ import annotations

import torch
from torch import Tensor


def points(x: Tensor, name: str = "x") -> Tensor:
    """`x` as (N, D), contiguous and without a gradient; one number a point is taken as D = 1.

    Raises:
        TypeError: x is not real floating point.
        ValueError: x has no dimension or no coordinate, or holds NaN or infinite numbers.
    """
    if not x.is_floating_point():
        raise TypeError(f"{name} must be real floating point, got {x.dtype}")
    if x.dim() == 0 or x.shape[0] and not x.numel():
        raise ValueError(f"{name} must have shape (points, coordinates), got {tuple(x.shape)}")
    flat = x.detach().reshape(x.shape[0], -1) if x.numel() else x.detach().new_empty(0, 1)
    if not (finite := flat.isfinite()).all():
        row = int((~finite.all(1)).nonzero()[0])
        raise ValueError(f"{name} must be finite, got {flat[row].tolist()} at point {row}")
    return flat.contiguous()


def graph_sizes(
    batch: Tensor | None, count: int, name: str = "batch", batch_size: int | None = None
) -> Tensor:
    """How many of `count` points each graph has, (B,) int64; None puts all into one graph.

    Raises:
        TypeError: batch is not an integer tensor.
        ValueError: batch is not (count,), negative, unsorted, or names a graph past batch_size.
    """
    if batch is None:
        sizes = torch.tensor([count])
        return sizes if batch_size is None else _padded(sizes, batch_size, name)
    if batch.is_floating_point() or batch.is_complex() or batch.dtype == torch.bool:
        raise TypeError(f"{name} must hold integers, got {batch.dtype}")
    if batch.dim() != 1 or batch.numel() != count:
        raise ValueError(f"{name} must have shape ({count},), got {tuple(batch.shape)}")
    if count and int(batch.min()) < 0:
        raise ValueError(f"{name} must not be negative, got {int(batch.min())}")
    if count and (falls := batch[1:] < batch[:-1]).any():
        at = int(falls.nonzero()[0])
        raise ValueError(
            f"{name} must be sorted, got {int(batch[at])} before {int(batch[at + 1])} at point {at}"
        )
    sizes = torch.bincount(batch.long()).cpu()
    return sizes if batch_size is None else _padded(sizes, batch_size, name)


def starts_of(sizes: Tensor) -> Tensor:
    """Where each graph begins and the last one ends, (B + 1,) int64."""
    return torch.nn.functional.pad(sizes.cumsum(0), (1, 0))


def _padded(sizes: Tensor, graphs: int, name: str) -> Tensor:
    if sizes.numel() > graphs:
        raise ValueError(
            f"{name} must name graphs below batch_size = {graphs}, got {sizes.numel() - 1}"
        )
    return torch.nn.functional.pad(sizes, (0, graphs - sizes.numel()))
