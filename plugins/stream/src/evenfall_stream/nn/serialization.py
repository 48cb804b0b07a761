"""Points put in order along coordinates, with the differences that a state-space model decays over.

Letters: N points, B graphs, V views (a view is one axis in one direction).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import check_batch, check_pos


@dataclass(frozen=True, eq=False)
class Serialization:
    """V orders of the same N points, laid end to end, each graph a segment of its own.

    Attributes:
        order: (V N,) the point at each place.
        step: (V N,) the distance along the axis to the place before, 0 where a segment begins.
        cu_seqlens: (V B + 1,) where the segments begin and end.
        views: V.
        given: whether the one view is the order given, so that nothing has to be moved.
    """

    order: Tensor
    step: Tensor
    cu_seqlens: Tensor
    views: int
    given: bool = False

    @property
    def inverse(self) -> Tensor:
        """(V, N) the place of each point in each view, among all V N places."""
        order = self.order.view(self.views, -1)
        places = torch.arange(self.order.numel(), device=order.device).view_as(order)
        return torch.empty_like(order).scatter_(1, order, places)

    def arrange(self, x: Tensor) -> Tensor:
        """(N, E) in the order given -> (V N, E) in the order of the views."""
        return x if self.given else x.index_select(0, self.order)

    def restore(self, y: Tensor) -> Tensor:
        """(V N, E) in the order of the views -> (N, V, E) in the order given."""
        if self.given:
            return y[:, None]
        places = self.inverse.T
        rows = y.contiguous()  # what comes from a scan is contiguous in time: slow to gather from
        return rows.index_select(0, places.flatten()).view(*places.shape, y.shape[1])

    def view(self, index: int) -> Serialization:
        """One view alone."""
        points = self.order.numel() // self.views
        graphs = (self.cu_seqlens.numel() - 1) // self.views
        rows = slice(index * points, (index + 1) * points)
        ends = self.cu_seqlens[index * graphs : (index + 1) * graphs + 1] - index * points
        return Serialization(self.order[rows], self.step[rows], ends, 1, self.given)


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
    does not depend on the order given, except among points that coincide.

    Args:
        pos: (N, D) finite coordinates. The steps are differentiable with respect to it.
        batch: (N,) the graph of each point, not decreasing; one graph where None.
        axes: columns of pos; all of them where None.
        bidirectional: also each axis backwards; the views are then x, x reversed, y, ...
        presorted: keep the order given, which must not run backwards along any of the axes.

    Returns:
        The orders, in views.

    Raises:
        ValueError: pos not finite, batch unsorted or negative, an axis that pos has not, or points
            that run backwards though presorted.
        TypeError: pos not floating point, batch not integer.
    """
    check_pos(pos)
    graph_of, graphs = check_batch(batch, pos)
    chosen = _axes(axes, pos.shape[1])
    counts = _counts(batch, graph_of, graphs)
    orders, steps, lengths = [], [], []
    for axis, order in zip(chosen, _orders(pos, graph_of, graphs, chosen, presorted), strict=True):
        step = _backward_differences(pos[order, axis], graph_of[order])
        if presorted:
            _check_forward(step, axis)
        orders.append(order)
        steps.append(step)
        lengths.append(counts)
        if bidirectional:
            orders.append(order.flip(0))
            steps.append(_backward_differences(-pos[orders[-1], axis], graph_of[orders[-1]]))
            lengths.append(counts.flip(0))
    ends = torch.cat(lengths).cumsum(0)
    return Serialization(
        torch.cat(orders),
        torch.cat(steps),
        torch.cat([ends.new_zeros(1), ends]),
        len(orders),
        given=presorted and len(orders) == 1,
    )


def end_to_end(
    serialization: Serialization, batch: Tensor, joined: bool
) -> tuple[Tensor, Serialization]:
    """The views of each graph one after the other, as one sequence in which points recur.

    Args:
        serialization: V views of N points.
        batch: (N,) the graph of each point.
        joined: whether a graph is one segment, or each of its views.

    Returns:
        (V N,) the point at each place, and the serialization of the points repeated so.
    """
    views = serialization.views
    graph_of = batch[serialization.order]
    view_of = torch.arange(views, device=batch.device).repeat_interleave(batch.numel())
    segment_of = graph_of * views + view_of
    places = segment_of.argsort(stable=True)
    segment_of = (graph_of if joined else segment_of)[places]
    ends = torch.bincount(segment_of).cumsum(0)
    sequence = Serialization(
        torch.arange(places.numel(), device=batch.device),
        serialization.step[places],
        torch.cat([ends.new_zeros(1), ends]),
        1,
        given=True,
    )
    return serialization.order[places], sequence


def _axes(axes: Sequence[int] | None, dimensions: int) -> list[int]:
    chosen = list(range(dimensions)) if axes is None else list(axes)
    if not chosen or any(not 0 <= axis < dimensions for axis in chosen):
        raise ValueError(f"axes must name columns of pos, 0 to {dimensions - 1}, got {axes}")
    return chosen


def _counts(batch: Tensor | None, graph_of: Tensor, graphs: int) -> Tensor:
    """How many points each graph has."""
    if batch is None:  # of a shape that torch.compile knows beforehand
        return graph_of.new_full((1,), graph_of.numel())
    return torch.bincount(graph_of, minlength=graphs)


def _orders(
    pos: Tensor, graph_of: Tensor, graphs: int, axes: list[int], presorted: bool
) -> list[Tensor]:
    """For each axis the points by graph, then by that axis, then by all axes."""
    everywhere = torch.arange(pos.shape[0], device=pos.device)
    if presorted:
        return [everywhere] * len(axes)
    coordinates = pos.detach()
    base = everywhere
    for axis in reversed(range(pos.shape[1])):
        base = base[coordinates[base, axis].argsort(stable=True)]
    orders = []
    for axis in axes:
        order = base[coordinates[base, axis].argsort(stable=True)] if axis else base
        orders.append(order[graph_of[order].argsort(stable=True)] if graphs > 1 else order)
    return orders


def _backward_differences(values: Tensor, graph_of: Tensor) -> Tensor:
    if not values.numel():
        return values
    step = torch.cat([values.new_zeros(1), values.diff()])
    first = torch.cat([graph_of.new_ones(1, dtype=torch.bool), graph_of.diff() != 0])
    return step.masked_fill(first, 0)


def _check_forward(step: Tensor, axis: int) -> None:
    if step.numel() and not torch.compiler.is_compiling() and float(step.detach().min()) < 0:
        at = int((step < 0).nonzero()[0])
        raise ValueError(
            f"pos must not run backwards along axis {axis} within a graph, but point {at} lies "
            f"{-float(step[at].detach()):g} before the point before it; sort the points first"
        )
