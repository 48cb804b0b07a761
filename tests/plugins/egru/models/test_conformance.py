"""The battery for recurrent language models, on three forms of EGRU."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from evenfall.testing.recurrent import RecurrentModelBattery
from evenfall_egru import (
    EgruConfig,
    EgruForCausalLM,
    EgruForSequenceClassification,
)


class _Egru(RecurrentModelBattery):
    settings: dict[str, Any] = {"hidden_sizes": [20, 12]}

    def make_model(self) -> EgruForCausalLM:
        return self._make(EgruForCausalLM)

    def make_classifier(self) -> EgruForSequenceClassification:
        return self._make(EgruForSequenceClassification, num_labels=3)

    def _make(self, model: Any, **settings: Any) -> Any:
        torch.manual_seed(0)
        sizes = {"vocab_size": 41, "embedding_size": 12, "embedding_range": 1.0}
        return model(EgruConfig(**sizes, **self.settings, **settings)).eval()


class TestReleased(_Egru):
    """The released form, with y and h carried."""


class TestPaper(_Egru):
    """The paper's form."""

    settings = {"hidden_sizes": [20, 12], "variant": "paper"}


class TestProjected(_Egru):
    """A last layer of another width than the embedding, and dense products throughout."""

    settings = {"hidden_sizes": [20, 16], "event_driven": False}


class TestUntied(_Egru):
    """Embedding and decoder learn apart."""

    settings = {"hidden_sizes": [12], "tie_word_embeddings": False}
