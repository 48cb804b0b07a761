"""PointNet, the baseline without interaction between points."""

from __future__ import annotations

from torch import Tensor, nn

from ..graphs import Graphs
from .grouping import PointMlp, Tokens, concatenate


class PointNet(nn.Module):
    """Vanilla PointNet before the maximum: an MLP D-64-64-64-128-W of each point.

    BatchNorm and ReLU are between the layers.

    Source: arXiv 1612.00593, without the two spatial transformers.
    """

    def __init__(self, width: int, in_channels: int, dimensions: int) -> None:
        super().__init__()
        self.mlp = PointMlp(dimensions + in_channels, 64, 64, 64, 128, width)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, pos: Tensor, graphs: Graphs, x: Tensor | None = None) -> Tokens:
        """(N, D) positions and (N, in_channels) features to one token per point."""
        return Tokens(self.norm(self.mlp(concatenate(pos, x))), pos, graphs)
