"""The logits of a batch, for training, evaluation and prediction."""

from __future__ import annotations

from torch import Tensor, nn
from torch_geometric.data import Data


def logits(model: nn.Module, data: Data) -> Tensor:
    """(B, classes) logits of a batch of clouds or recordings.

    Raises:
        ValueError: the last examples of the batch have no points.
    """
    out: Tensor = model(x=data.x, pos=data.pos, batch=data.batch)
    if out.shape[0] != data.num_graphs:
        raise ValueError(
            f"data: the batch has {data.num_graphs} examples, but the model returned {out.shape[0]}"
            ", because the last ones are empty; remove empty examples"
        )
    return out
