"""The layers that stream.py compares: all take 64 features of each point of one cloud.

N points   W = 64 channels
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import PointTransformerConv

from evenfall_stream import StreamConv
from evenfall_stream.neighbors import knn

WIDTH, STATES, NEIGHBORS, HEADS = 64, 16, 16, 4
OURS, TRANSFORMER, DENSE = "StreamConv", "PointTransformerConv", "dense attention"


class NeighborAttention(nn.Module):
    """PyG's PointTransformerConv over the nearest neighbours, which it finds anew in each call."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = PointTransformerConv(WIDTH, WIDTH)

    def forward(self, x: Tensor, pos: Tensor) -> Tensor:
        """(N, W) features at (N, 3) to (N, W)."""
        return self.conv(x, pos, knn(pos, pos, NEIGHBORS).flip(0))


class DenseAttention(nn.Module):
    """Attention among all points; the position is added through a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Linear(3, WIDTH)
        self.split, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor, pos: Tensor) -> Tensor:
        """(N, W) features at (N, 3) to (N, W)."""
        parts = self.split(x + self.position(pos)).view(1, len(x), 3, HEADS, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.out(mixed[0].transpose(0, 1).flatten(1))


def _ours() -> nn.Module:
    return StreamConv(WIDTH, WIDTH, d_state=STATES)


LAYERS: dict[str, Callable[[], nn.Module]] = {
    OURS: _ours,
    TRANSFORMER: NeighborAttention,
    DENSE: DenseAttention,
}


def cloud(points: int) -> tuple[Tensor, Tensor]:
    """(N, W) features and (N, 3) positions, uniform in a cube."""
    torch.manual_seed(0)
    return torch.randn(points, WIDTH), torch.rand(points, 3) * 2 - 1


def passes(name: str, points: int) -> dict[str, Callable[[], None]]:
    """A fresh layer on a cloud: forward, and with the gradients of features and parameters."""
    x, pos = cloud(points)
    layer = LAYERS[name]()
    leaves = [x.requires_grad_(), *layer.parameters()]

    def forward() -> None:
        with torch.no_grad():
            layer(x, pos)

    def both() -> None:
        torch.autograd.grad(layer(x, pos).sum(), leaves)

    return {"forward": forward, "forward + backward": both}
