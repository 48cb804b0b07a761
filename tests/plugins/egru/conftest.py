"""Tiny seeded EGRU models and a small corpus."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from evenfall_egru import EgruConfig, EgruForCausalLM

SIZES = {"vocab_size": 41, "embedding_size": 12, "hidden_sizes": [20, 12]}
NOUNS = ("cat", "dog", "bird", "fish", "horse")
VERBS = ("sees", "likes", "hears", "follows")


@pytest.fixture(scope="session")
def make_egru() -> Callable[..., Any]:
    """A function that makes a seeded EGRU model in evaluation mode, with changed settings."""

    def make(model: type = EgruForCausalLM, seed: int = 0, **settings: Any) -> Any:
        torch.manual_seed(seed)
        return model(EgruConfig(**{**SIZES, **settings})).eval()

    return make


@pytest.fixture
def ids() -> torch.Tensor:
    """Token ids, (3, 17)."""
    return torch.randint(41, (3, 17), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train, valid and test: sentences with partly predictable words."""
    folder, generator = tmp_path_factory.mktemp("corpus"), random.Random(0)
    for split, lines in (("train", 220), ("valid", 60), ("test", 60)):
        text = "".join(
            f" the {generator.choice(NOUNS)} {generator.choice(VERBS)} the"
            f" {generator.choice(NOUNS)} \n"
            for _ in range(lines)
        )
        (folder / f"tiny.{split}.txt").write_text(text, encoding="utf-8")
    return folder
