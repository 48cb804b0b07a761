"""Training and evaluation use no name of transformers that is deprecated."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from evenfall_egru import EgruForSequenceClassification
from evenfall_egru.training import Recipe, train


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What transformers logs, also what it logs once only."""
    found: list[str] = []
    library = transformers_logging.get_logger("transformers")

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    handler = Kept(logging.WARNING)
    library.addHandler(handler)
    monkeypatch.setattr(logging.Logger, "warning_once", logging.Logger.warning, raising=False)
    yield found
    library.removeHandler(handler)


def test_nothing_deprecated_is_used(
    corpus: Path, tmp_path: Path, messages: list[str], make_egru: Callable[..., Any]
) -> None:
    recipe = Recipe(
        model={"embedding_size": 8, "hidden_sizes": [12, 8]}, epochs=1, batch_size=8, window=12
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        warnings.simplefilter("error", DeprecationWarning)
        best = train(recipe, corpus, tmp_path / "run")
        model = AutoModelForCausalLM.from_pretrained(best)
        ids = torch.tensor([[1, 2, 3]])
        model.generate(ids, max_new_tokens=3)
        model(ids, use_cache=True, output_events=True, labels=ids)
        make_egru(EgruForSequenceClassification, pad_token_id=0)(ids, use_cache=True)
    assert not [message for message in messages if "deprecated" in message]
