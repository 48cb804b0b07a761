"""One layer of a baseline: torch.nn.LSTM or torch.nn.GRU with the interface of an EGRU layer.

Dimensions: B batch, T time, H units, N tokens of all texts end to end, S texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_sequence, unpack_sequence
from transformers.modeling_layers import GradientCheckpointingLayer

from evenfall.errors import shorten

from ..models.cache_egru import EgruCacheLayer, EgruStaticCacheLayer
from .configuration import RnnConfig

State = tuple[torch.Tensor, torch.Tensor]

_CELLS: dict[str, type[nn.RNNBase]] = {"lstm": nn.LSTM, "gru": nn.GRU}


class RnnCacheLayer(EgruCacheLayer):
    """Outputs h (in `keys`) and cells c (in `values`), each (B, H); c of a GRU is (B, 0)."""

    _layer_type = "rnn"


class RnnStaticCacheLayer(EgruStaticCacheLayer):
    """RnnCacheLayer whose tensors stay where they are in memory."""

    _layer_type = "rnn"


class RnnLayer(GradientCheckpointingLayer):
    """One LSTM or GRU layer; all its weights are those of `rnn`, a torch module of one layer."""

    def __init__(self, config: RnnConfig, index: int):
        super().__init__()
        inputs = [config.embedding_size, *config.hidden_sizes][index]
        units = config.hidden_sizes[index]
        self.config, self.index, self.units = config, index, units
        self.rnn = _CELLS[config.cell](inputs, units, batch_first=True)

    def forward(
        self,
        x: torch.Tensor,
        state: State | None,
        cu_seqlens: torch.Tensor | None,
        want_events: bool | str,
        want_states: bool = False,
    ) -> tuple[torch.Tensor, State, torch.Tensor | None]:
        """x (B, T, inputs) -> h (B, T, H), the last (h, c), and 1 where h is not 0.

        With `cu_seqlens` (S + 1), x is (1, N, inputs) and a state has S rows.

        Raises:
            ValueError: `want_states`.
        """
        if want_states:
            raise ValueError(
                "torch.nn.LSTM and torch.nn.GRU do not return the state after each token: they "
                "cannot take tokens back (assisted decoding), and a graph with a mask needs "
                "use_cache=False"
            )
        if state is None:
            rows = len(x) if cu_seqlens is None else len(cu_seqlens) - 1
            state = self._zeros(x, rows)
        elif self.config.carry == "output":
            state = (state[0], torch.zeros_like(state[1]))
        if want_events == "cells":
            raise ValueError(f"output_cells needs an EGRU, got {shorten(self.config.cell)}")
        rate = self.config.dropconnect if self.training else 0.0
        with _dropped(self.rnn, rate):
            if cu_seqlens is None:
                y, state = self._run(x, state)
            else:
                y, state = self._run_texts(x, state, cu_seqlens)
        return y, state, (y != 0).to(y.dtype) if want_events else None

    def _zeros(self, x: torch.Tensor, rows: int) -> State:
        cells = self.units if self.config.cell == "lstm" else 0
        zeros = torch.zeros(rows, self.units + cells, dtype=torch.float32, device=x.device)
        return zeros[:, : self.units], zeros[:, self.units :]

    def _run(self, x: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        if not x.numel():  # torch refuses an empty sequence
            return x.new_zeros(*x.shape[:-1], self.units), state
        y, last = self.rnn(x, self._to_torch(state, x.dtype))
        return y, self._from_torch(last)

    def _run_texts(
        self, x: torch.Tensor, state: State, cu_seqlens: torch.Tensor
    ) -> tuple[torch.Tensor, State]:
        """Texts end to end; one without tokens keeps its state."""
        lengths = cu_seqlens.diff()
        texts = [text for text in x[0].split(lengths.tolist()) if len(text)]
        if not texts:
            return x.new_zeros(1, 0, self.units), state
        real = (lengths > 0).nonzero()[:, 0].to(x.device)
        first = (state[0][real], state[1][real])
        packed = pack_sequence(texts, enforce_sorted=False)
        y, last = self.rnn(packed, self._to_torch(first, x.dtype))
        h, c = self._from_torch(last)
        new = state[0].index_copy(0, real, h), state[1].index_copy(0, real, c)
        return torch.cat(unpack_sequence(y))[None], new

    def _to_torch(self, state: State, dtype: torch.dtype) -> torch.Tensor | State:
        """(B, H) -> (1, B, H), in the dtype of x, which torch demands."""
        h, c = (part[None].to(dtype).contiguous() for part in state)
        return (h, c) if self.config.cell == "lstm" else h

    def _from_torch(self, last: torch.Tensor | State) -> State:
        if isinstance(last, tuple):
            return last[0][0].float(), last[1][0].float()
        return last[0].float(), last.new_zeros(last.shape[1], 0, dtype=torch.float32)


@contextmanager
def _dropped(rnn: nn.RNNBase, rate: float) -> Iterator[None]:
    """DropConnect: in the block, the module computes with recurrent weights of which it lacks
    `rate`, and the others are scaled by 1 / (1 - rate)."""
    weights = rnn._flat_weights
    if rate:
        named = zip(rnn._flat_weights_names, weights, strict=True)
        rnn._flat_weights = [
            F.dropout(weight, rate) if name.startswith("weight_hh") else weight
            for name, weight in named
        ]
    try:
        yield
    finally:
        rnn._flat_weights = weights


__all__ = ["RnnCacheLayer", "RnnLayer", "RnnStaticCacheLayer"]
