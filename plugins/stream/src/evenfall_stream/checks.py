"""Argument checks that the layers and models share.

Sizes, dtypes and shapes are checked at once, by the `check_*` functions. A check of values is a
`Check`: all of those of one call are read together by `read`, so that a GPU is waited for once.

N points   D coordinates
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Check = tuple[Tensor, Callable[[], Exception]]
"""Whether the values are right, a bool tensor without dimensions, and the exception if not."""


def read(checks: Sequence[Check], *numbers: Tensor) -> list[int]:
    """The values of `numbers`, 1-D int64 tensors on the device of the checks, end to end.

    Checks and numbers are read together. torch.compile and torch.export, which have no values,
    leave the checks out where there are no numbers to read.

    Raises:
        Exception: that of the first check that fails.
    """
    if not numbers and torch.compiler.is_compiling():
        return []
    flags = torch.stack([right for right, _ in checks]).long()
    values: list[int] = torch.cat([flags, *numbers]).tolist()
    for (_, error), right in zip(checks, values, strict=False):
        if not right:
            raise error()
    return values[len(checks) :]


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
    """pos is (N, D >= 1) and floating point."""
    check_floating("pos", pos)
    if pos.dim() != 2 or pos.shape[1] < 1:
        raise ValueError(f"pos must have shape (points, dimensions), got {tuple(pos.shape)}")


def check_features(x: Tensor, pos: Tensor, channels: int) -> None:
    """x is (N, channels) and floating point, with a row for each row of pos, on its device."""
    check_floating("x", x)
    if x.dim() != 2 or x.shape[0] != pos.shape[0] or channels not in (-1, x.shape[1]):
        width = "channels" if channels == -1 else channels
        raise ValueError(
            f"x must have shape (points, channels) = ({pos.shape[0]}, {width}), "
            f"got {tuple(x.shape)}"
        )
    if x.device != pos.device:
        raise ValueError(f"x is on {x.device}, but pos is on {pos.device}")


def check_rows(rows: int, what: str) -> None:
    """Enough rows for BatchNorm's variance in training."""
    if rows < 2:
        raise ValueError(
            f"training takes BatchNorm's mean and variance over {what} and needs at least 2, got "
            f"{rows}; leave an incomplete last batch out (DataLoader's drop_last) or call eval()"
        )


def finite(points: Tensor, name: str = "pos") -> Check:
    """Every coordinate of (N, D) points is finite."""
    points = points.detach()

    def error() -> Exception:
        row = int((~points.isfinite()).any(1).nonzero()[0])
        return ValueError(f"{name} must be finite, got {points[row].tolist()} at point {row}")

    return points.isfinite().all(), error


def not_decreasing(pos: Tensor, axis: int, batch: Tensor | None) -> Check:
    """Column `axis` of pos (N, D) does not decrease within a graph; batch (N,) is int64."""
    values = pos.detach()[:, axis]
    rises = values[1:] >= values[:-1]
    if batch is not None:
        rises = rises | (batch[1:] != batch[:-1])

    def error() -> Exception:
        at = int((~rises).nonzero()[0]) + 1
        return ValueError(
            f"pos must not decrease along axis {axis} within a graph: point {at} is "
            f"{float(values[at - 1] - values[at]):g} below the previous one; sort the points first"
        )

    return rises.all(), error
