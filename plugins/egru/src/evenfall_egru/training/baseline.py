"""GRU and LSTM classifiers, trained as the EGRU is, to compare with it.

Dimensions: B batch, T steps, F features, H units, C classes.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

from ..models.configuration_egru import EgruConfig
from ..models.layer_egru import locked_dropout

_CELLS = {"gru": nn.GRU, "lstm": nn.LSTM}


class RecurrentClassifier(nn.Module):
    """torch's GRU or LSTM with a linear head on the last output, and the sizes of an EgruConfig."""

    def __init__(self, cell: str, config: EgruConfig) -> None:
        super().__init__()
        sizes = [config.embedding_size, *config.hidden_sizes]
        layers = (_CELLS[cell](a, b, batch_first=True) for a, b in pairwise(sizes))
        self.dropout, self.layers = config.hidden_dropout, nn.ModuleList(layers)
        self.output_dropout = config.output_dropout
        self.score = nn.Linear(config.hidden_size, config.num_labels, bias=False)

    def forward(
        self, inputs_embeds: torch.Tensor, labels: torch.Tensor | None = None, **kwargs: Any
    ) -> SequenceClassifierOutput:
        """inputs_embeds (B, T, F), labels (B,) -> logits (B, C) and the mean cross-entropy."""
        y = inputs_embeds
        for index, layer in enumerate(self.layers):
            if index and self.training and self.dropout:
                y = locked_dropout(y, self.dropout, None)
            y = layer(y)[0]
        if self.training and self.output_dropout:
            y = locked_dropout(y, self.output_dropout, None)
        logits = self.score(y[:, -1])
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)
