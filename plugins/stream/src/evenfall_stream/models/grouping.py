"""Points to tokens: a small PointNet over the neighbours of centres that lie far apart.

Letters: N points, T tokens (centres), k neighbours, R rows of features, about T k, W width.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.utils import scatter

from ..checks import check_rows
from ..graphs import Graphs
from ..neighbors.queries import fps_graphs, nearest_table
from ..neighbors.table import found_places
from ..nn.linear import is_plain_linear
from ..nn.serialization import serialize_graphs


class Tokens(NamedTuple):
    """The (T, W) features, (T, D) positions and graphs of tokens."""

    x: Tensor
    pos: Tensor
    graphs: Graphs


class PointMlp(nn.Sequential):
    """Linear layers with BatchNorm and ReLU after all but the last."""

    def __init__(self, *sizes: int) -> None:
        layers: list[nn.Module] = []
        for number, (inputs, outputs) in enumerate(pairwise(sizes), 2):
            layers.append(nn.Linear(inputs, outputs, bias=number == len(sizes)))
            if number < len(sizes):
                layers += [nn.BatchNorm1d(outputs), nn.ReLU()]
        super().__init__(*layers)

    def forward(self, rows: Tensor) -> Tensor:
        """(R, sizes[0]) in any floating point dtype to (R, sizes[-1]) in that of the weights.

        Raises:
            ValueError: training with one row, which gives BatchNorm no variance.
        """
        if self.training and len(self) > 1:
            check_rows(rows.shape[0], "points")
        return super().forward(rows.to(self[1].weight.dtype))


class PointTokens(nn.Module):
    """Tokens from the nearest neighbours of centres, which farthest point sampling chooses.

    A token is PointMamba's mini-PointNet of the neighbours' offsets d: with m the maximum of f(d)
    over a centre's neighbours, it is the maximum of g(m, f(d)), where f and g are two-layer MLPs
    with W/3, 2W/3 and 4W/3, W units. The first centre is random in training; in evaluation it is
    the point with the smallest first coordinate, for any order of the points.

    Args:
        width: W.
        in_channels: features per point besides the position.
        groups: centres per cloud; fewer if a cloud has fewer points.
        neighbors: k; fewer if a cloud has fewer points.
        dimensions: D.

    Raises:
        ValueError: width is below 3, or groups or neighbors below 1.
    """

    def __init__(
        self, width: int, in_channels: int, groups: int, neighbors: int, dimensions: int
    ) -> None:
        super().__init__()
        if width < 3 or groups < 1 or neighbors < 1:
            raise ValueError(
                "width must be at least 3, groups and neighbors at least 1, "
                f"got {width}, {groups} and {neighbors}"
            )
        self.groups, self.neighbors = groups, neighbors
        local = 2 * width // 3
        self.first = PointMlp(dimensions + in_channels, width // 3, local)
        self.second = PointMlp(2 * local, 2 * local, width)

    def forward(self, pos: Tensor, graphs: Graphs, x: Tensor | None = None) -> Tokens:
        """(N, D) positions, their graphs and (N, in_channels) features to tokens, unchecked."""
        if not self.training:  # the same tokens for any order of the points
            order = serialize_graphs(pos.detach(), graphs, [0]).order
            pos, x = pos[order], None if x is None else x[order]
        counts = graphs.sizes.clamp(max=self.groups)
        centres = fps_graphs(pos, graphs, counts, random_start=self.training)
        of_centres = graphs.at_most(self.groups, centres)
        table = nearest_table(pos, pos[centres], self.neighbors, graphs, of_centres)
        of_token = self._points_of_tokens(table, graphs, counts)
        local = pos[of_token.point] - of_token.spread(pos[centres])
        features = self.first(concatenate(local, None if x is None else x[of_token.point]))
        features = self._second(of_token.maximum(features), features, of_token)
        return Tokens(of_token.maximum(features), pos[centres], of_centres)

    def _points_of_tokens(self, table: Tensor, graphs: Graphs, counts: Tensor) -> PointsOfTokens:
        """The points of each token, from (T, k) neighbours, -1 where a cloud has fewer.

        In evaluation these places repeat the nearest point, which changes no maximum. In training
        they are left out, because BatchNorm would count them.
        """
        most = self.neighbors
        if not self.training:
            return PointsOfTokens(torch.where(table < 0, table[:, :1], table).flatten(), most)
        if not torch.compiler.is_compiling() and _have(graphs.sizes, most):
            return PointsOfTokens(table.flatten(), most)
        found = (counts * graphs.sizes.clamp(max=most)).sum()
        places = found_places(table, found)
        return PointsOfTokens(table.flatten()[places], most, places // most, table.shape[0])

    def _second(self, maxima: Tensor, features: Tensor, of_token: PointsOfTokens) -> Tensor:
        """g(m, f), which multiplies the m of a token once, not once for each point."""
        linear, *others = self.second
        if is_plain_linear(linear):
            of_maxima, of_point = linear.weight.split(maxima.shape[1], 1)
            hidden = of_token.add(F.linear(features, of_point), F.linear(maxima, of_maxima))
        else:  # quantised, or with an adapter
            hidden = linear(torch.cat([of_token.spread(maxima), features], 1))
        for layer in others:
            hidden = layer(hidden)
        return hidden


class PointsOfTokens(NamedTuple):
    """The points of all tokens, in rows.

    Attributes:
        point: (R,) the point of each row, token by token.
        each: k; without `token`, each token has k rows.
        token: (R,) the token of each row, if they have different numbers of points.
        tokens: T, with `token`.
    """

    point: Tensor
    each: int
    token: Tensor | None = None
    tokens: int = 0

    def spread(self, x: Tensor) -> Tensor:
        """(T, W) tokens to (R, W)."""
        if self.token is not None:
            return x.index_select(0, self.token)
        return x[:, None].expand(-1, self.each, -1).flatten(0, 1)

    def add(self, rows: Tensor, x: Tensor) -> Tensor:
        """(R, W) rows plus the (T, W) vectors of their tokens."""
        if self.token is not None:
            return rows + x.index_select(0, self.token)
        return (rows.view(x.shape[0], self.each, x.shape[1]) + x[:, None]).flatten(0, 1)

    def maximum(self, rows: Tensor) -> Tensor:
        """(R, W) rows to (T, W)."""
        if self.token is not None:
            return scatter(rows, self.token, 0, self.tokens, reduce="max")
        return rows.view(-1, self.each, rows.shape[1]).amax(1)


def _have(sizes: Tensor, points: int) -> bool:
    """Whether every graph that is not empty has so many points."""
    return not bool(((sizes > 0) & (sizes < points)).any())


class EveryPoint(nn.Module):
    """One token per point: an MLP of its position and features."""

    def __init__(self, width: int, in_channels: int, dimensions: int) -> None:
        super().__init__()
        self.mlp = PointMlp(dimensions + in_channels, width, width)

    def forward(self, pos: Tensor, graphs: Graphs, x: Tensor | None = None) -> Tokens:
        """Like PointTokens.forward, with T = N."""
        return Tokens(self.mlp(concatenate(pos, x)), pos, graphs)


def concatenate(pos: Tensor, x: Tensor | None) -> Tensor:
    """Positions and features side by side."""
    return pos if x is None else torch.cat([pos, x], 1)
