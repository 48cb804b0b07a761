"""Argument checks that the layers and models share.

The `check_*` functions check sizes, dtypes and shapes immediately. A `Check` checks values: `read`
reads all checks of a call together, so that the call waits for the GPU once.

N points   D coordinates
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Check = tuple[Tensor, Callable[[], Exception]]
"""A scalar bool tensor, true if the values are valid, and a function that makes the exception."""


def read(checks: Sequence[Check], *numbers: Tensor) -> list[int]:
    """Run the checks and return the values of `numbers`, concatenated.

    One transfer reads the checks and the numbers, which are 1-D int64 tensors on the device of the
    checks. torch.compile and torch.export have no values: without numbers, they skip the checks.

    Raises:
        Exception: the exception of the first check that fails.
    """
    if not numbers and torch.compiler.is_compiling():
        return []
    flags = torch.stack([valid for valid, _ in checks]).long()
    values: list[int] = torch.cat([flags, *numbers]).tolist()
    for (_, error), valid in zip(checks, values, strict=False):
        if not valid:
            raise error()
    return values[len(checks) :]


def check_sizes(**sizes: int) -> None:
    """Each size is at least 1."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be positive, got {size}")


def check_floating(name: str, value: Tensor) -> None:
    """The value is a real floating point tensor."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        got = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"{name} must be a floating point tensor, got {got}")


def check_pos(pos: Tensor) -> None:
    """pos is (N, D >= 1) and floating point."""
    check_floating("pos", pos)
    if pos.dim() != 2 or pos.shape[1] < 1:
        raise ValueError(f"pos must have shape (points, dimensions), got {tuple(pos.shape)}")


def check_features(x: Tensor, pos: Tensor, channels: int) -> None:
    """x is (N, channels), floating point and on the device of pos; -1 channels allow any number."""
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
    """There are enough rows for BatchNorm's variance in training."""
    if rows < 2:
        raise ValueError(
            f"BatchNorm needs at least 2 {what} in training, got {rows}; drop an incomplete last "
            "batch (DataLoader's drop_last=True) or call eval()"
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
