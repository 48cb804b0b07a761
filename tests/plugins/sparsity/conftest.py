"""Tiny models of the hosts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")


@pytest.fixture(scope="session")
def make_egru() -> Callable[..., Any]:
    """A function that makes a seeded EGRU language model whose units fire."""
    egru = pytest.importorskip("evenfall_egru")

    def make(**settings: Any) -> Any:
        torch.manual_seed(0)
        sizes = {"vocab_size": 41, "embedding_size": 12, "hidden_sizes": [20, 12]}
        config = egru.EgruConfig(**{**sizes, "threshold_mean": 0.1, **settings})
        model = egru.EgruForCausalLM(config).eval()
        with torch.no_grad():
            model.model.embed_tokens.weight.mul_(8)
        return model

    return make


@pytest.fixture
def ids() -> Any:
    """Token ids, (2, 9)."""
    return torch.randint(41, (2, 9), generator=torch.Generator().manual_seed(1))
