"""Argument checks that the layers and models share."""

from __future__ import annotations

import torch
from torch import Tensor


def check_sizes(**sizes: int) -> None:
    """Sizes of layers, 1 or more."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be positive, got {size}")


def check_floating(name: str, value: Tensor) -> None:
    """A tensor of real floating point."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        got = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"{name} must be a floating point tensor, got {got}")


def check_pos(pos: Tensor) -> None:
    """pos is (N, D >= 1), floating point and finite."""
    check_floating("pos", pos)
    if pos.dim() != 2 or pos.shape[1] < 1:
        raise ValueError(f"pos must have shape (points, dimensions), got {tuple(pos.shape)}")
    if torch.compiler.is_compiling() or bool(torch.isfinite(pos.detach()).all()):
        return
    row = int((~torch.isfinite(pos.detach())).any(1).nonzero()[0])
    raise ValueError(f"pos must be finite, got {pos[row].tolist()} at point {row}")


def check_features(x: Tensor, pos: Tensor, channels: int) -> None:
    """x is (N, channels), floating point, a row for each row of pos."""
    check_floating("x", x)
    check_floating("pos", pos)
    if x.dim() != 2 or x.shape[0] != pos.shape[0] or channels not in (-1, x.shape[1]):
        width = "channels" if channels == -1 else channels
        raise ValueError(
            f"x must have shape (points, channels) = ({pos.shape[0]}, {width}), "
            f"got {tuple(x.shape)}"
        )
    if x.device != pos.device:
        raise ValueError(f"x is on {x.device}, but pos is on {pos.device}")


def check_batch(
    batch: Tensor | None, pos: Tensor, batch_size: int | None = None
) -> tuple[Tensor, int]:
    """The graph of each point and how many graphs there are; batch is sorted, from 0 on.

    A graph that no point belongs to is empty; those after the last point are known by batch_size
    alone.
    """
    graph_of, graphs = _graphs(batch, pos)
    if batch_size is not None and batch_size < graphs:
        raise ValueError(
            f"batch_size must be at least {graphs}, the graphs of batch, got {batch_size}"
        )
    return graph_of, graphs if batch_size is None else batch_size


def check_rows(rows: int, what: str) -> None:
    """BatchNorm in training has a variance to take."""
    if rows < 2:
        raise ValueError(
            f"training takes BatchNorm's mean and variance over {what} and needs at least 2, got "
            f"{rows}; leave an incomplete last batch out (DataLoader's drop_last) or call eval()"
        )


def _graphs(batch: Tensor | None, pos: Tensor) -> tuple[Tensor, int]:
    points = pos.shape[0]
    if batch is None:
        return torch.zeros(points, dtype=torch.long, device=pos.device), 1
    if not isinstance(batch, Tensor) or batch.is_floating_point() or batch.dtype == torch.bool:
        got = batch.dtype if isinstance(batch, Tensor) else type(batch).__name__
        raise TypeError(f"batch must be an integer tensor, got {got}")
    if tuple(batch.shape) != (points,):
        raise ValueError(f"batch must have shape (points,) = ({points},), got {tuple(batch.shape)}")
    if batch.device != pos.device:
        raise ValueError(f"batch is on {batch.device}, but pos is on {pos.device}")
    if not points:
        return batch.long(), 0
    falls = batch[1:] < batch[:-1]  # and not their difference, which uint8 has no sign for
    if bool(falls.any()):
        at = int(falls.nonzero()[0]) + 1
        raise ValueError(
            f"batch must be sorted, got {int(batch[at])} after {int(batch[at - 1])} at point {at}"
        )
    if int(batch[0]) < 0:
        raise ValueError(f"batch must not be negative, got {int(batch[0])}")
    return batch.long(), int(batch[-1]) + 1
