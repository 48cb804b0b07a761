"""Points to tokens: a small PointNet over the neighbours of centres that lie far apart.

Letters: N points, T tokens (centres), k neighbours, E edges, about T k, W width.
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
from ..neighbors.queries import fps_graphs, knn_graphs
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
        return super().forward(rows.to(self[0].weight.dtype))


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
        token, point = knn_graphs(pos, pos[centres], self.neighbors, graphs, of_centres)
        local = pos[point] - pos[centres][token]
        features = self.first(concatenate(local, None if x is None else x[point]))
        maxima = self._maximum(features, token, len(centres))
        features = self._second(maxima, features, token)
        return Tokens(self._maximum(features, token, len(centres)), pos[centres], of_centres)

    def _second(self, maxima: Tensor, features: Tensor, token: Tensor) -> Tensor:
        """g(m, f), which multiplies the m of a token once, not once for each point."""
        linear, *others = self.second
        of_maxima, of_point = linear.weight.split(maxima.shape[1], 1)
        hidden, shared = F.linear(features, of_point), F.linear(maxima, of_maxima)
        if self._regular(token, len(maxima)):
            hidden = (hidden.view(len(maxima), self.neighbors, -1) + shared[:, None]).flatten(0, 1)
        else:
            hidden = hidden + shared.index_select(0, token)
        for layer in others:
            hidden = layer(hidden)
        return hidden

    def _regular(self, token: Tensor, tokens: int) -> bool:
        """Whether every token has k points."""
        return token.numel() == tokens * self.neighbors

    def _maximum(self, features: Tensor, token: Tensor, tokens: int) -> Tensor:
        if self._regular(token, tokens):
            return features.view(tokens, self.neighbors, -1).amax(1)
        return scatter(features, token, 0, tokens, reduce="max")


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
