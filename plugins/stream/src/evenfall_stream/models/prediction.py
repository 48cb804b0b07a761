"""The logits of a batch, for training, evaluation and prediction."""

from __future__ import annotations

from torch import Tensor, nn
from torch_geometric.data import Data


def logits(model: nn.Module, data: Data) -> Tensor:
    """(B, classes) logits of a batch of clouds or recordings, also of empty ones."""
    out: Tensor = model(x=data.x, pos=data.pos, batch=data.batch, batch_size=data.num_graphs)
    return out
