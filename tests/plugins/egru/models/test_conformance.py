"""The battery for recurrent language models, on four forms of EGRU."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

torch = pytest.importorskip("torch")

from evenfall.testing.recurrent import RecurrentModelBattery
from evenfall_egru import (
    EgruConfig,
    EgruForCausalLM,
    EgruForSequenceClassification,
)


class _Egru(RecurrentModelBattery):
    settings: ClassVar[dict[str, Any]] = {"hidden_sizes": [20, 12]}

    def make_model(self) -> EgruForCausalLM:
        return self._make(EgruForCausalLM)

    def make_classifier(self) -> EgruForSequenceClassification:
        return self._make(EgruForSequenceClassification, num_labels=3)

    def _make(self, model: Any, **settings: Any) -> Any:
        torch.manual_seed(0)
        sizes = {"vocab_size": 41, "embedding_size": 12, "embedding_range": 1.0}
        return model(EgruConfig(**sizes, **self.settings, **settings)).eval()


class TestReleased(_Egru):
    """The released form, which carries y and h."""


class TestPaper(_Egru):
    """The paper's form."""

    settings: ClassVar[dict[str, Any]] = {"hidden_sizes": [20, 12], "variant": "paper"}


class TestProjected(_Egru):
    """A last layer that is wider than the embedding, and only dense products."""

    settings: ClassVar[dict[str, Any]] = {"hidden_sizes": [20, 16], "event_driven": False}


class TestUntied(_Egru):
    """Embedding and decoder are separate weights."""

    settings: ClassVar[dict[str, Any]] = {"hidden_sizes": [12], "tie_word_embeddings": False}
