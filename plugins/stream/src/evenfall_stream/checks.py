"""Argument checks that the layers and models share.

The `check_*` functions check sizes, dtypes and shapes immediately. A `Check` checks values: `read`
reads all checks of a call together, so that the call waits for the GPU once.

N points   D coordinates
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Check(NamedTuple):
    """A check of values.

    Attributes:
        valid: a scalar bool tensor, true if the values are valid.
        rule: what is valid; the message of a traced graph, which cannot look for the bad value.
        error: makes the exception.
    """

    valid: Tensor
    rule: str
    error: Callable[[], Exception]


def read(checks: Sequence[Check], *numbers: Tensor) -> list[int]:
    """Run the checks and return the values of `numbers`, concatenated.

    One transfer reads the checks and the numbers, which are 1-D int64 tensors on the device of the
    checks.

    Raises:
        Exception: the exception of the first check that fails.
    """
    flags = torch.stack([check.valid for check in checks]).long()
    values: list[int] = torch.cat([flags, *numbers]).tolist()
    for check, valid in zip(checks, values, strict=False):
        if not valid:
            raise check.error()
    return values[len(checks) :]


def assert_in_graph(checks: Sequence[Check]) -> None:
    """Add the checks to a graph that torch.compile or torch.export traces, where it runs on a CPU.

    The graph raises a RuntimeError with the rule. On a GPU it has no checks: a failed assertion
    there would stop the whole process.
    """
    for check in checks:
        if check.valid.device.type == "cpu":
            torch._assert_async(check.valid, check.rule)


def check_sizes(**sizes: int) -> None:
    """Each size is at least 1."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be positive, got {size}")


def list_names(class_names: Sequence[str] | None, num_classes: int) -> list[str] | None:
    """The names of the classes as a list.

    Raises:
        ValueError: there are not `num_classes` names.
    """
    if class_names is None:
        return None
    if len(class_names) != num_classes:
        raise ValueError(
            f"class_names must have num_classes = {num_classes} names, got {len(class_names)}"
        )
    return list(class_names)


def check_in_channels(in_channels: int) -> None:
    """The models' number of features is at least 0; they do not infer it from the first call."""
    if in_channels < 0:
        raise ValueError(
            f"in_channels must be at least 0, got {in_channels}; only StreamConv infers it from "
            "the first call"
        )


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
    if torch.compiler.is_compiling():  # the number may be known only when the graph runs
        torch._check(rows >= 2, lambda: "BatchNorm needs at least 2 rows in training")
    elif rows < 2:
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

    return Check(points.isfinite().all(), f"{name} must be finite", error)


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

    return Check(rises.all(), f"pos must not decrease along axis {axis} within a graph", error)
