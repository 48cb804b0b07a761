"""Points sorted along coordinates, with the differences over which the state decays.

Letters: N points, B graphs, V views (a view is one axis in one direction).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import check_pos
from ..graphs import Graphs, read_graphs, starts_of
from ..tracing import as_pytree


@dataclass(frozen=True, eq=False)
class Serialization:
    """V orders of the same N points, concatenated; each graph of a view is a segment.

    Attributes:
        order: (V N,) the point at each place.
        step: (V N,) the distance along the axis to the previous place, 0 at the start of a segment.
        cu_seqlens: (V B + 1,) the start of each segment and the end of the last one.
        views: V.
        graphs: the graphs of the points in input order.
        is_input_order: whether the only view is the input order, so that points need not be moved.
    """

    order: Tensor
    step: Tensor
    cu_seqlens: Tensor
    views: int
    graphs: Graphs
    is_input_order: bool = False

    @property
    def inverse(self) -> Tensor:
        """The place of each point in each view, (V, N), among all V N places."""
        order = self.order.view(self.views, -1)
        places = torch.arange(self.order.numel(), device=order.device).view_as(order)
        return torch.empty_like(order).scatter_(1, order, places)

    def arrange(self, x: Tensor) -> Tensor:
        """(N, E) in input order -> (V N, E) in the order of the views."""
        return x if self.is_input_order else x.index_select(0, self.order)

    def restore(self, y: Tensor) -> Tensor:
        """(V N, E) in the order of the views -> (N, V, E) in input order."""
        if self.is_input_order:
            return y[:, None]
        places = self.inverse.T
        rows = y.contiguous()  # a scan's output is contiguous in time, which is slow to gather from
        return rows.index_select(0, places.flatten()).view(*places.shape, y.shape[1])

    def view(self, index: int) -> Serialization:
        """The serialization of one view."""
        points = self.order.numel() // self.views
        segments = (self.cu_seqlens.numel() - 1) // self.views
        rows = slice(index * points, (index + 1) * points)
        ends = self.cu_seqlens[index * segments : (index + 1) * segments + 1] - index * points
        return Serialization(
            self.order[rows], self.step[rows], ends, 1, self.graphs, self.is_input_order
        )


as_pytree(
    Serialization,
    tensors=("order", "step", "cu_seqlens", "graphs"),
    constants=("views", "is_input_order"),
)


def serialize(
    pos: Tensor,
    batch: Tensor | None = None,
    axes: Sequence[int] | None = None,
    *,
    bidirectional: bool = False,
    presorted: bool = False,
) -> Serialization:
    """Sort the points of each graph along each axis and take backward differences.

    Ties are sorted by the other coordinates, so the result does not depend on the input order,
    except among coincident points.

    Args:
        pos: (N, D) finite coordinates. The steps are differentiable with respect to it.
        batch: (N,) the graph of each point, not decreasing; None for one graph.
        axes: columns of pos; None for all.
        bidirectional: also sort each axis backwards; the views are then x, x reversed, y, ...
        presorted: keep the input order; the coordinates of the axes must not decrease within a
            graph.

    Returns:
        One view for each axis and direction.

    Raises:
        ValueError: pos is not finite, batch is unsorted or negative, pos has no such axis, or a
            coordinate decreases with presorted=True.
        TypeError: pos is not floating point, or batch is not integer.
    """
    check_pos(pos)
    graphs = read_graphs(pos, batch, sorted_axes=columns(axes, pos) if presorted else ())
    return serialize_graphs(pos, graphs, axes, bidirectional=bidirectional, presorted=presorted)


def serialize_graphs(
    pos: Tensor,
    graphs: Graphs,
    axes: Sequence[int] | None = None,
    *,
    bidirectional: bool = False,
    presorted: bool = False,
) -> Serialization:
    """Like `serialize`, without checks of values.

    Raises:
        ValueError: pos has no such axis.
    """
    all_axes = columns(axes, pos)
    orders, coordinates = [], []
    for axis, order in zip(all_axes, _orders(pos, graphs, all_axes, presorted), strict=True):
        orders.append(order)
        coordinates.append(pos[order, axis])
        if bidirectional:
            orders.append(order.flip(0))
            coordinates.append(-pos[orders[-1], axis])
    along = torch.stack(coordinates)  # (V, N)
    starts = _starts_graph(graphs, len(all_axes), bidirectional)
    step = (along - _previous(along)).masked_fill(starts, 0)
    if len(orders) == 1:
        return Serialization(orders[0], step[0], graphs.ptr, 1, graphs, is_input_order=presorted)
    sizes = graphs.ptr.diff()
    if bidirectional:
        sizes = torch.cat([sizes, sizes.flip(0)])
    ends = starts_of(sizes.repeat(len(all_axes)))
    return Serialization(torch.cat(orders), step.flatten(), ends, len(orders), graphs)


def columns(axes: Sequence[int] | None, pos: Tensor) -> list[int]:
    """The axes as a list; None for all columns of pos.

    Raises:
        ValueError: pos has no such axis, or axes is empty.
    """
    dimensions = pos.shape[1]
    indices = list(range(dimensions)) if axes is None else list(axes)
    if not indices or min(indices) < 0 or max(indices) >= dimensions:
        raise ValueError(f"axes must be columns of pos, 0 to {dimensions - 1}, got {axes}")
    return indices


def end_to_end(serialization: Serialization, joined: bool) -> tuple[Tensor, Serialization]:
    """Concatenate the views of each graph to one sequence, in which each point occurs V times.

    Args:
        serialization: V views of N points.
        joined: True: a graph is one segment; False: each of its views is one.

    Returns:
        The point at each place, (V N,), and the serialization of the repeated points.
    """
    views, batch = serialization.views, serialization.graphs.batch
    graph_of = batch[serialization.order]
    view_of = torch.arange(views, device=batch.device)[:, None].expand(-1, batch.numel()).flatten()
    places = (graph_of * views + view_of).argsort(stable=True)
    rows = serialization.order[places]
    graphs = serialization.graphs.repeat(views, rows)
    segments = graphs.ptr
    if not joined:
        sizes = serialization.graphs.ptr.diff()
        segments = starts_of(sizes.repeat_interleave(views, output_size=views * graphs.count))
    sequence = Serialization(
        torch.arange(places.numel(), device=batch.device),
        serialization.step[places],
        segments,
        1,
        graphs,
        is_input_order=True,
    )
    return rows, sequence


def _orders(pos: Tensor, graphs: Graphs, axes: list[int], presorted: bool) -> list[Tensor]:
    """For each axis, the points sorted by graph, then by that axis, then by all axes."""
    input_order = torch.arange(pos.shape[0], device=pos.device)
    if presorted:
        return [input_order] * len(axes)
    coordinates = pos.detach()
    base = input_order
    for axis in reversed(range(pos.shape[1])):
        base = base[coordinates[base, axis].argsort(stable=True)]
    several, orders = not graphs.one, []
    for axis in axes:
        order = base[coordinates[base, axis].argsort(stable=True)] if axis else base
        orders.append(order[graphs.batch[order].argsort(stable=True)] if several else order)
    return orders


def _starts_graph(graphs: Graphs, axes: int, bidirectional: bool) -> Tensor:
    """Whether a place is the first one of a graph in its view, (1 or V, N)."""
    batch = graphs.batch
    first = torch.arange(batch.shape[0], device=batch.device)[None] == 0
    if graphs.one:
        return first
    of_views = torch.stack([batch, batch.flip(0)]).repeat(axes, 1) if bidirectional else batch[None]
    return first | (of_views != _previous(of_views))


def _previous(values: Tensor) -> Tensor:
    """(V, N) values at the previous place, at the first place itself.

    An index, not a slice: the number of points may be known only when a traced graph runs.
    """
    places = torch.arange(values.shape[1], device=values.device)
    return values.index_select(1, (places - 1).clamp(min=0))
