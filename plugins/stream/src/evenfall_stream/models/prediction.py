"""The logits of a batch, for training, evaluation and prediction alike."""

from __future__ import annotations

from torch import Tensor, nn
from torch_geometric.data import Data


def logits(model: nn.Module, data: Data) -> Tensor:
    """(B, classes) of a batch; clouds and recordings alike are given as pos, batch and x.

    Raises:
        ValueError: the last examples of the batch have no points, so the model knows none of them.
    """
    out = model(x=data.x, pos=data.pos, batch=data.batch)
    if out.shape[0] != data.num_graphs:
        raise ValueError(
            f"data: the batch holds {data.num_graphs} examples, but only {out.shape[0]} up to the "
            "last one with points; leave empty examples out"
        )
    return out
