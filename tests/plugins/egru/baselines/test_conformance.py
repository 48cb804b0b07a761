"""The battery for recurrent language models, on the LSTM and GRU baselines."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from evenfall.testing.recurrent import RecurrentModelBattery
from evenfall_egru import RnnConfig, RnnForCausalLM


class _Rnn(RecurrentModelBattery):
    settings: ClassVar[dict[str, Any]] = {}

    def make_model(self) -> RnnForCausalLM:
        torch.manual_seed(0)
        sizes = {"vocab_size": 41, "embedding_size": 12, "embedding_range": 1.0}
        return RnnForCausalLM(RnnConfig(**sizes, **self.settings)).eval()


class TestLstm(_Rnn):
    """Two layers, embedding and decoder tied."""

    settings: ClassVar[dict[str, Any]] = {"cell": "lstm", "hidden_sizes": [20, 12]}


class TestGru(_Rnn):
    """A last layer that is wider than the embedding."""

    settings: ClassVar[dict[str, Any]] = {"cell": "gru", "hidden_sizes": [16]}
