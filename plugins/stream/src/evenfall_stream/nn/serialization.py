"""Points put in order along coordinates, with the differences that a state-space model decays over.

Letters: N points, B graphs, V views (a view is one axis in one direction).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import check_pos
from ..graphs import Graphs, read_graphs, starts_of


@dataclass(frozen=True, eq=False)
class Serialization:
    """V orders of the same N points, laid end to end, each graph a segment of its own.

    Attributes:
        order: (V N,) the point at each place.
        step: (V N,) the distance along the axis to the place before, 0 where a segment begins.
        cu_seqlens: (V B + 1,) where the segments begin and end.
        views: V.
        graphs: of the points in the input order.
        unmoved: whether the one view is the input order, so that nothing has to be moved.
    """

    order: Tensor
    step: Tensor
    cu_seqlens: Tensor
    views: int
    graphs: Graphs
    unmoved: bool = False

    @property
    def inverse(self) -> Tensor:
        """(V, N) the place of each point in each view, among all V N places."""
        order = self.order.view(self.views, -1)
        places = torch.arange(self.order.numel(), device=order.device).view_as(order)
        return torch.empty_like(order).scatter_(1, order, places)

    def arrange(self, x: Tensor) -> Tensor:
        """(N, E) in the input order -> (V N, E) in the order of the views."""
        return x if self.unmoved else x.index_select(0, self.order)

    def restore(self, y: Tensor) -> Tensor:
        """(V N, E) in the order of the views -> (N, V, E) in the input order."""
        if self.unmoved:
            return y[:, None]
        places = self.inverse.T
        rows = y.contiguous()  # what comes from a scan is contiguous in time: slow to gather from
        return rows.index_select(0, places.flatten()).view(*places.shape, y.shape[1])

    def view(self, index: int) -> Serialization:
        """One view alone."""
        points = self.order.numel() // self.views
        segments = (self.cu_seqlens.numel() - 1) // self.views
        rows = slice(index * points, (index + 1) * points)
        ends = self.cu_seqlens[index * segments : (index + 1) * segments + 1] - index * points
        return Serialization(self.order[rows], self.step[rows], ends, 1, self.graphs, self.unmoved)


def serialize(
    pos: Tensor,
    batch: Tensor | None = None,
    axes: Sequence[int] | None = None,
    *,
    bidirectional: bool = False,
    presorted: bool = False,
) -> Serialization:
    """Order the points of each graph along each axis and take backward differences.

    Points of equal coordinate come in the order of their other coordinates, so that the result
    does not depend on the input order, except among points that coincide.

    Args:
        pos: (N, D) finite coordinates. The steps are differentiable with respect to it.
        batch: (N,) the graph of each point, not decreasing; one graph where None.
        axes: columns of pos; all of them where None.
        bidirectional: also each axis backwards; the views are then x, x reversed, y, ...
        presorted: keep the input order; no coordinate of the axes may decrease within a graph.

    Returns:
        The orders, in views.

    Raises:
        ValueError: pos is not finite, batch is unsorted or negative, pos lacks an axis, or a
            coordinate decreases although presorted.
        TypeError: pos is not floating point, or batch not integer.
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
    """As `serialize`, of checked positions and graphs: no value is looked at.

    Raises:
        ValueError: pos lacks an axis.
    """
    chosen = columns(axes, pos)
    orders, places = [], []
    for axis, order in zip(chosen, _orders(pos, graphs, chosen, presorted), strict=True):
        orders.append(order)
        places.append(pos[order, axis])
        if bidirectional:
            orders.append(order.flip(0))
            places.append(-pos[orders[-1], axis])
    along = torch.stack(places)  # (V, N)
    step = along.diff(dim=1, prepend=along[:, :1])
    if len(graphs) > 1:
        step = step.masked_fill(_begins(graphs.batch, len(chosen), bidirectional), 0)
    if len(orders) == 1:
        return Serialization(orders[0], step[0], graphs.ptr, 1, graphs, unmoved=presorted)
    sizes = graphs.ptr.diff()
    if bidirectional:
        sizes = torch.cat([sizes, sizes.flip(0)])
    ends = starts_of(sizes.repeat(len(chosen)))
    return Serialization(torch.cat(orders), step.flatten(), ends, len(orders), graphs)


def columns(axes: Sequence[int] | None, pos: Tensor) -> list[int]:
    """The axes, or all columns of pos where None.

    Raises:
        ValueError: pos lacks an axis, or there is none.
    """
    dimensions = pos.shape[1]
    chosen = list(range(dimensions)) if axes is None else list(axes)
    if not chosen or min(chosen) < 0 or max(chosen) >= dimensions:
        raise ValueError(f"axes must name columns of pos, 0 to {dimensions - 1}, got {axes}")
    return chosen


def end_to_end(serialization: Serialization, joined: bool) -> tuple[Tensor, Serialization]:
    """The views of each graph one after the other, as one sequence in which points recur.

    Args:
        serialization: V views of N points.
        joined: whether a graph is one segment, or each of its views.

    Returns:
        (V N,) the point at each place, and the serialization of the points repeated so.
    """
    views, batch = serialization.views, serialization.graphs.batch
    graph_of = batch[serialization.order]
    view_of = torch.arange(views, device=batch.device).repeat_interleave(batch.numel())
    places = (graph_of * views + view_of).argsort(stable=True)
    rows = serialization.order[places]
    graphs = serialization.graphs.repeat(views, rows)
    segments = graphs.ptr
    if not joined:
        sizes = serialization.graphs.ptr.diff()
        segments = starts_of(sizes.repeat_interleave(views, output_size=views * len(graphs)))
    sequence = Serialization(
        torch.arange(places.numel(), device=batch.device),
        serialization.step[places],
        segments,
        1,
        graphs,
        unmoved=True,
    )
    return rows, sequence


def _orders(pos: Tensor, graphs: Graphs, axes: list[int], presorted: bool) -> list[Tensor]:
    """For each axis the points by graph, then by that axis, then by all axes."""
    everywhere = torch.arange(pos.shape[0], device=pos.device)
    if presorted:
        return [everywhere] * len(axes)
    coordinates = pos.detach()
    base = everywhere
    for axis in reversed(range(pos.shape[1])):
        base = base[coordinates[base, axis].argsort(stable=True)]
    several, orders = len(graphs) > 1, []
    for axis in axes:
        order = base[coordinates[base, axis].argsort(stable=True)] if axis else base
        orders.append(order[graphs.batch[order].argsort(stable=True)] if several else order)
    return orders


def _begins(batch: Tensor, axes: int, bidirectional: bool) -> Tensor:
    """(1 or V, N) whether another graph comes before the place, in the order of the views."""
    of_views = torch.stack([batch, batch.flip(0)]).repeat(axes, 1) if bidirectional else batch[None]
    return of_views.diff(dim=1, prepend=of_views[:, :1]) != 0
