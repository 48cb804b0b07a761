"""The embedding of a quantised model."""

from __future__ import annotations

import torch
from torch import nn

from evenfall_kernels import StoredMatrix

from ..models.step_egru import FORWARD


class StoredEmbedding(nn.Module):
    """torch.nn.Embedding with a stored matrix (E, V): a row for each feature, a column for a word.

    A tied decoder reads the same matrix by rows.

    Args:
        weight: dense rows (E, V).
        padding_idx: that of the embedding it replaces.
    """

    max_norm = None  # as an nn.Embedding says that it does not change its rows

    def __init__(self, weight: StoredMatrix, padding_idx: int | None = None) -> None:
        super().__init__()
        self.weight, self.padding_idx = weight, padding_idx
        self.embedding_dim, self.num_embeddings = weight.shape

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Ids (...) -> (..., E), float32."""
        return self.weight.take_columns(input)

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}"


FORWARD[StoredEmbedding] = StoredEmbedding.forward

__all__ = ["StoredEmbedding"]
