"""The graphs of a flat batch of points. The public call reads and checks them once.

N points   D coordinates   B graphs
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .checks import Check, assert_in_graph, check_floating, finite, not_decreasing, read
from .tracing import as_pytree, read_number

_READ_AHEAD = 1024
"""Sizes of graphs that a GPU returns together with the checks; more graphs cost a second wait."""


@dataclass(frozen=True, eq=False)
class Graphs:
    """The graphs of N points, one after another.

    `read_graphs` checks the arguments and makes it; functions that take one do not check again.

    Attributes:
        batch: (N,) int64, the graph of each point, not decreasing.
        sizes: (B,) int64, the number of points of each graph, on the CPU.
        ptr: (B + 1,) int64, the start of each graph and the end of the last one.
        one: whether B is known to be 1. Code that is traced cannot ask for B.
    """

    batch: Tensor
    sizes: Tensor
    ptr: Tensor
    one: bool = False

    @property
    def count(self) -> int:
        """B, empty graphs included; no `len`, which cannot be a size known only to a graph."""
        return self.sizes.shape[0]

    def pad_to(self, graphs: int) -> Graphs:
        """Append empty graphs, up to `graphs` in total."""
        missing = graphs - self.count
        if not missing:
            return self
        ptr = torch.cat([self.ptr, self.ptr[-1:].expand(missing)])
        return Graphs(self.batch, torch.nn.functional.pad(self.sizes, (0, missing)), ptr)

    def at_most(self, count: int, rows: Tensor) -> Graphs:
        """The graphs of points `rows`: `count` points of each graph, or all if it has fewer."""
        sizes = self.sizes.clamp(max=count)
        starts = starts_of(self.ptr.diff().clamp(max=count))
        return Graphs(self.batch[rows], sizes, starts, self.one)

    def repeat(self, times: int, rows: Tensor) -> Graphs:
        """The graphs of points `rows`, which contain each point `times` times."""
        return Graphs(self.batch[rows], self.sizes * times, self.ptr * times, self.one)


as_pytree(Graphs, tensors=("batch", "sizes", "ptr"), constants=("one",))


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

    This waits for a GPU once; twice with more than 1,024 graphs and no batch_size. In a traced
    graph the checks are assertions, and without batch_size the number of graphs is read when the
    graph runs.

    Args:
        pos: (N, D) floating point.
        batch: (N,) integers from 0 on, the graph of each point, not decreasing; None for one
            graph. A number that does not occur is an empty graph.
        batch_size: number of graphs; needed if the last ones may be empty.
        sorted_axes: columns of pos that must not decrease within a graph.
        checks: further checks, read together with these.
        names: of pos and batch, for messages.

    Raises:
        TypeError: batch is not an integer tensor.
        ValueError: pos is not finite or decreases along one of sorted_axes; batch has another
            shape or device, is unsorted or negative, or exceeds batch_size.
        Exception: the exception of one of `checks`.
    """
    all_checks = [finite(pos, names[0])]
    if batch is not None:
        batch = _integers(batch, pos, names)
        all_checks.append(_check_sorted(batch, names[1]))
    all_checks += [not_decreasing(pos, axis, batch) for axis in sorted_axes]
    all_checks += checks
    if torch.compiler.is_compiling():
        return _trace(pos, batch, all_checks, batch_size, names[1])
    if batch is None:
        read(all_checks)
        return _one_graph(pos, _graph_count(1, batch_size, names[1]))
    if not batch.numel():
        read(all_checks)
        return _no_points(batch, _graph_count(0, batch_size, names[1]))
    return (_read if batch.is_cpu else _read_ahead)(batch, all_checks, batch_size, names[1])


def starts_of(sizes: Tensor) -> Tensor:
    """The start of each graph and the end of the last one, (B + 1,) int64."""
    return torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])


def flat_points(x: Tensor, name: str = "x") -> Tensor:
    """`x` as (N, D), contiguous and detached; (N,) becomes (N, 1).

    Raises:
        TypeError: x is not real floating point.
        ValueError: x has no dimension or no coordinate.
    """
    check_floating(name, x)
    if x.dim() == 0 or (x.shape[0] and not x.numel()):
        raise ValueError(f"{name} must have shape (points, coordinates), got {tuple(x.shape)}")
    x = x.detach()
    return (x.reshape(x.shape[0], -1) if x.numel() else x.new_empty(0, 1)).contiguous()


def _integers(batch: Tensor, pos: Tensor, names: tuple[str, str]) -> Tensor:
    """Check the dtype, shape and device of batch; return it as contiguous int64."""
    pos_name, name = names
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
        raise ValueError(f"{name} is on {batch.device}, but {pos_name} is on {pos.device}")
    return batch.long().contiguous()


def _check_sorted(batch: Tensor, name: str) -> Check:
    rises = batch[1:] >= batch[:-1]

    def error() -> Exception:
        if (lowest := int(batch.min())) < 0:
            return _negative(lowest, name)
        at = int((~rises).nonzero()[0]) + 1
        return ValueError(
            f"{name} must be sorted, got {int(batch[at])} after {int(batch[at - 1])} at point {at}"
        )

    return Check(rises.all(), f"{name} must be sorted", error)


def _negative(value: int, name: str) -> Exception:
    return ValueError(f"{name} must not be negative, got {value}")


def _sorted_graph_count(first: int, last: int, batch_size: int | None, name: str) -> int:
    """The number of graphs, from the first and last entry of a sorted batch."""
    if first < 0:
        raise _negative(first, name)
    return _graph_count(last + 1, batch_size, name)


def _graph_count(graphs: int, batch_size: int | None, name: str) -> int:
    """The number of graphs: batch_size, which must not be below the `graphs` of batch."""
    if batch_size is None:
        return graphs
    if batch_size < graphs:
        raise ValueError(
            f"batch_size must be at least {graphs}, the number of graphs in {name}, "
            f"got {batch_size}"
        )
    return batch_size


def _one_graph(pos: Tensor, graphs: int) -> Graphs:
    """`graphs` graphs, all points in the first one."""
    points = pos.shape[0]
    batch = torch.zeros(points, dtype=torch.long, device=pos.device)
    sizes = torch.full((1,), points, dtype=torch.long)
    ptr = starts_of(batch.new_full((1,), points))
    return Graphs(batch, sizes, ptr, one=graphs == 1).pad_to(graphs)


def _no_points(batch: Tensor, graphs: int) -> Graphs:
    return Graphs(batch, torch.zeros(graphs, dtype=torch.long), batch.new_zeros(graphs + 1))


def _starts(batch: Tensor, graphs: int) -> Tensor:
    return torch.searchsorted(batch, torch.arange(graphs + 1, device=batch.device))


def _read(batch: Tensor, checks: Sequence[Check], batch_size: int | None, name: str) -> Graphs:
    first, last = read(checks, batch[:1], batch[-1:])
    ptr = _starts(batch, _sorted_graph_count(first, last, batch_size, name))
    return Graphs(batch, ptr.diff(), ptr, one=len(ptr) == 2)


def _trace(
    pos: Tensor, batch: Tensor | None, checks: list[Check], batch_size: int | None, name: str
) -> Graphs:
    """The graphs as torch.compile and torch.export trace them: without values, with assertions."""
    if batch is None:
        assert_in_graph(checks)
        return _one_graph(pos, _graph_count(1, batch_size, name))
    if not batch.numel():
        assert_in_graph(checks)
        return _no_points(batch, _graph_count(0, batch_size, name))
    first, last = batch[0], batch[-1]
    checks.append(
        Check(first >= 0, f"{name} must not be negative", lambda: _negative(int(first), name))
    )
    if batch_size is None:
        assert_in_graph(checks)
        graphs = read_number(last) + 1
    else:
        rule = f"batch_size must be at least the number of graphs in {name}"
        assert_in_graph([*checks, Check(last < batch_size, rule, lambda: ValueError(rule))])
        graphs = batch_size
    ptr = _starts(batch, graphs)
    return Graphs(batch, ptr.diff().cpu(), ptr)


def _read_ahead(
    batch: Tensor, checks: Sequence[Check], batch_size: int | None, name: str
) -> Graphs:
    """Like `_read`, for a GPU: one wait reads the checks and the starts of the first graphs."""
    ahead = _READ_AHEAD if batch_size is None else batch_size
    ptr = _starts(batch, ahead)
    first, last, *starts = read(checks, batch[:1], batch[-1:], ptr)
    graphs = _sorted_graph_count(first, last, batch_size, name)
    if graphs > ahead:
        ptr = _starts(batch, graphs)
        starts = ptr.tolist()
    sizes = torch.tensor(starts[: graphs + 1]).diff()
    return Graphs(batch, sizes, ptr[: graphs + 1], one=graphs == 1)
