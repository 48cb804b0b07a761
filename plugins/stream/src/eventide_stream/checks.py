"""Argument checks that the layers and models share."""

from __future__ import annotations

import torch
from torch import Tensor


def check_pos(pos: Tensor) -> None:
    """pos is (N, D >= 1), floating point and finite."""
    if not isinstance(pos, Tensor) or not pos.is_floating_point():
        got = pos.dtype if isinstance(pos, Tensor) else type(pos).__name__
        raise TypeError(f"pos must be a floating point tensor, got {got}")
    if pos.dim() != 2 or pos.shape[1] < 1:
        raise ValueError(f"pos must have shape (points, dimensions), got {tuple(pos.shape)}")
    if torch.compiler.is_compiling() or bool(torch.isfinite(pos.detach()).all()):
        return
    row = int((~torch.isfinite(pos.detach())).any(1).nonzero()[0])
    raise ValueError(f"pos must be finite, got {pos[row].tolist()} at point {row}")


def check_features(x: Tensor, pos: Tensor, channels: int) -> None:
    """x is (N, channels), floating point, a row for each row of pos."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        got = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"x must be a floating point tensor, got {got}")
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
    if batch.is_floating_point() or batch.dtype == torch.bool:
        raise TypeError(f"batch must be an integer tensor, got {batch.dtype}")
    if tuple(batch.shape) != (points,):
        raise ValueError(f"batch must have shape (points,) = ({points},), got {tuple(batch.shape)}")
    if batch.device != pos.device:
        raise ValueError(f"batch is on {batch.device}, but pos is on {pos.device}")
    if not points:
        return batch.long(), 0
    if bool((batch.diff() < 0).any()):
        at = int((batch.diff() < 0).nonzero()[0]) + 1
        raise ValueError(
            f"batch must be sorted, got {int(batch[at])} after {int(batch[at - 1])} at point {at}"
        )
    if int(batch[0]) < 0:
        raise ValueError(f"batch must not be negative, got {int(batch[0])}")
    return batch.long(), int(batch[-1]) + 1
