"""LSTM and GRU causal language models: EGRU's model with other layers.

Embedding, dropouts, packing of texts, padding, cache, loss and decoder are EGRU's code, so a study
compares cells and nothing else.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import nn
from transformers import initialization as init

from ..models.modeling_egru import EgruForCausalLM, EgruModel
from ..models.pretrained_egru import EgruPreTrainedModel
from .configuration import RnnConfig
from .layer import RnnLayer


class _RnnPreTrainedModel(EgruPreTrainedModel):
    config_class = RnnConfig
    config: RnnConfig
    _no_split_modules: ClassVar[list[str]] = ["RnnLayer"]
    layer_class: ClassVar[type[nn.Module]] = RnnLayer

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """As torch: uniform in +- 1 / sqrt(units)."""
        if isinstance(module, nn.RNNBase):
            most = 1 / math.sqrt(module.hidden_size)
            for parameter in module.parameters():
                init.uniform_(parameter, -most, most)
        else:
            super()._init_weights(module)


class RnnModel(_RnnPreTrainedModel, EgruModel):
    """Embedding and LSTM or GRU layers. Returns the outputs h of the last layer."""


class RnnForCausalLM(_RnnPreTrainedModel, EgruForCausalLM):
    """LSTM or GRU language model. generate(), Trainer, pipeline and push_to_hub work as usual.

    The equations are those of torch.nn.LSTM and torch.nn.GRU. `forward` takes the arguments of
    EgruForCausalLM; `activity` is the share of outputs that are not 0, which is 1 in practice.
    """

    _is_stateful = True  # torch's layers do not return the state after each token
    model_class: ClassVar[type[EgruModel]] = RnnModel


__all__ = ["RnnForCausalLM", "RnnModel"]
