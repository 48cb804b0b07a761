"""Pooling: one vector per graph from the vectors of its tokens."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.utils import scatter

POOLS = ("mean", "max", "meanmax")


def pool(x: Tensor, batch: Tensor, graphs: int, how: str) -> Tensor:
    """(T, W) tokens to (B, W), or (B, 2 W) for "meanmax"; zeros for an empty graph."""
    if how == "meanmax":
        return torch.cat([pool(x, batch, graphs, "mean"), pool(x, batch, graphs, "max")], 1)
    return scatter(x, batch, 0, graphs, reduce=how)


def weighted_mean(x: Tensor, weight: Tensor, batch: Tensor, graphs: int) -> Tensor:
    """(T, W) tokens with weights (T,) >= 0 to (B, W); the plain mean if the weights sum to 0.

    The result has the dtype of x. The weights may have a higher precision, which the sum uses.
    """
    total = scatter(weight, batch, 0, graphs)
    weight = torch.where(total[batch] > 0, weight, 1)
    total = scatter(weight, batch, 0, graphs).clamp(min=torch.finfo(weight.dtype).tiny)
    return (scatter(x * weight[:, None], batch, 0, graphs) / total[:, None]).to(x.dtype)
