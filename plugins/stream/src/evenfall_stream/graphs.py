"""Flat batches of points: their graphs, read and checked once, by the public call.

N points   D coordinates   B graphs
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .checks import Check, check_floating, finite, not_decreasing, read

_AHEAD = 1024
"""How many graphs a GPU may tell the sizes of together with the checks; more cost a second wait."""


@dataclass(frozen=True, eq=False)
class Graphs:
    """The graphs of N points, one after another.

    `read_graphs` makes it from checked arguments; functions that take one trust it.

    Attributes:
        batch: (N,) int64, the graph of each point, not decreasing.
        sizes: (B,) int64, the points of each graph, on the CPU.
        ptr: (B + 1,) int64, where each graph begins and the last one ends.
    """

    batch: Tensor
    sizes: Tensor
    ptr: Tensor

    def __len__(self) -> int:
        """B, empty graphs included."""
        return self.sizes.shape[0]

    def pad_to(self, graphs: int) -> Graphs:
        """With empty graphs at the end, `graphs` in all."""
        more = (0, graphs - len(self))
        if not more[1]:
            return self
        ptr = torch.cat([self.ptr, self.ptr[-1:].expand(more[1])])
        return Graphs(self.batch, torch.nn.functional.pad(self.sizes, more), ptr)

    def at_most(self, count: int, rows: Tensor) -> Graphs:
        """The graphs of points `rows`: `count` of each graph, all of a graph that has fewer."""
        sizes = self.sizes.clamp(max=count)
        return Graphs(self.batch[rows], sizes, starts_of(self.ptr.diff().clamp(max=count)))

    def repeat(self, times: int, rows: Tensor) -> Graphs:
        """The graphs of points `rows`, in which each point occurs `times` times."""
        return Graphs(self.batch[rows], self.sizes * times, self.ptr * times)


def read_graphs(
    pos: Tensor,
    batch: Tensor | None = None,
    batch_size: int | None = None,
    *,
    sorted_axes: Sequence[int] = (),
    checks: Sequence[Check] = (),
    names: tuple[str, str] = ("pos", "batch"),
) -> Graphs:
    """Check the values of pos and batch, and read the graphs.

    This waits for a GPU once, with more than 1,024 graphs and no batch_size twice.

    Args:
        pos: (N, D) floating point.
        batch: (N,) integers, the graph of each point, not decreasing, from 0 on; None for one
            graph. A graph that no point names is empty.
        batch_size: how many graphs there are, where the last ones may be empty.
        sorted_axes: columns of pos that must not decrease within a graph.
        checks: others, which are read together with these.
        names: of pos and batch, for messages.

    Raises:
        TypeError: batch is not an integer tensor.
        ValueError: pos is not finite or decreases along one of sorted_axes; batch is of
            another shape or device, unsorted, negative, or names a graph past batch_size.
        Exception: that of another check.
    """
    found = [finite(pos, names[0])]
    if batch is not None:
        batch = _integers(batch, pos, names)
        found.append(_rising(batch, names[1]))
    for axis in sorted_axes:
        found.append(not_decreasing(pos, axis, batch))
    found += checks
    if batch is None:
        read(found)
        return _one_graph(pos, _room(1, batch_size, names[1]))
    if not batch.numel():
        read(found)
        return _no_points(batch, _room(0, batch_size, names[1]))
    return (_read if batch.is_cpu else _read_ahead)(batch, found, batch_size, names[1])


def starts_of(sizes: Tensor) -> Tensor:
    """Where each graph begins and the last one ends, (B + 1,) int64."""
    return torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])


def flat_points(x: Tensor, name: str = "x") -> Tensor:
    """`x` as (N, D), contiguous and without a gradient; of shape (N,), D is 1.

    Raises:
        TypeError: x is not real floating point.
        ValueError: x has no dimension or no coordinate.
    """
    check_floating(name, x)
    if x.dim() == 0 or x.shape[0] and not x.numel():
        raise ValueError(f"{name} must have shape (points, coordinates), got {tuple(x.shape)}")
    x = x.detach()
    return (x.reshape(x.shape[0], -1) if x.numel() else x.new_empty(0, 1)).contiguous()


def _integers(batch: Tensor, pos: Tensor, names: tuple[str, str]) -> Tensor:
    """batch as contiguous int64, its dtype, shape and device checked."""
    of, name = names
    if (
        not isinstance(batch, Tensor)
        or batch.is_floating_point()
        or batch.is_complex()
        or batch.dtype == torch.bool
    ):
        got = batch.dtype if isinstance(batch, Tensor) else type(batch).__name__
        raise TypeError(f"{name} must be an integer tensor, got {got}")
    if tuple(batch.shape) != (points := pos.shape[0],):
        raise ValueError(
            f"{name} must have shape (points,) = ({points},), got {tuple(batch.shape)}"
        )
    if batch.device != pos.device:
        raise ValueError(f"{name} is on {batch.device}, but {of} is on {pos.device}")
    return batch.long().contiguous()


def _rising(batch: Tensor, name: str) -> Check:
    rises = batch[1:] >= batch[:-1]

    def error() -> Exception:
        if (least := int(batch.min())) < 0:
            return _negative(least, name)
        at = int((~rises).nonzero()[0]) + 1
        return ValueError(
            f"{name} must be sorted, got {int(batch[at])} after {int(batch[at - 1])} at point {at}"
        )

    return rises.all(), error


def _negative(value: int, name: str) -> Exception:
    return ValueError(f"{name} must not be negative, got {value}")


def _count(first: int, last: int, batch_size: int | None, name: str) -> int:
    """How many graphs there are, by the first and last entry of a sorted batch."""
    if first < 0:
        raise _negative(first, name)
    return _room(last + 1, batch_size, name)


def _room(graphs: int, batch_size: int | None, name: str) -> int:
    """How many graphs there are, `graphs` of which are known from batch."""
    if batch_size is None:
        return graphs
    if batch_size < graphs:
        raise ValueError(
            f"batch_size must be at least {graphs}, the graphs of {name}, got {batch_size}"
        )
    return batch_size


def _one_graph(pos: Tensor, graphs: int) -> Graphs:
    """All points in the first of the graphs."""
    points = pos.shape[0]
    batch = torch.zeros(points, dtype=torch.long, device=pos.device)
    sizes = torch.full((1,), points, dtype=torch.long)
    return Graphs(batch, sizes, starts_of(batch.new_full((1,), points))).pad_to(graphs)


def _no_points(batch: Tensor, graphs: int) -> Graphs:
    return Graphs(batch, torch.zeros(graphs, dtype=torch.long), batch.new_zeros(graphs + 1))


def _starts(batch: Tensor, graphs: int) -> Tensor:
    return torch.searchsorted(batch, torch.arange(graphs + 1, device=batch.device))


def _read(batch: Tensor, checks: Sequence[Check], batch_size: int | None, name: str) -> Graphs:
    first, last = read(checks, batch[:1], batch[-1:])
    ptr = _starts(batch, _count(first, last, batch_size, name))
    return Graphs(batch, ptr.diff(), ptr)


def _read_ahead(
    batch: Tensor, checks: Sequence[Check], batch_size: int | None, name: str
) -> Graphs:
    """As `_read`, where reading waits: where the first graphs begin is read with the checks."""
    ahead = _AHEAD if batch_size is None else batch_size
    ptr = _starts(batch, ahead)
    first, last, *starts = read(checks, batch[:1], batch[-1:], ptr)
    graphs = _count(first, last, batch_size, name)
    if graphs > ahead:
        ptr = _starts(batch, graphs)
        starts = ptr.tolist()
    return Graphs(batch, torch.tensor(starts[: graphs + 1]).diff(), ptr[: graphs + 1])
