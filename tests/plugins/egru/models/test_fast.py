"""Outputs, caches and settings made in fewer steps are transformers'; a call takes few steps."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import DynamicCache

from evenfall_egru import EgruConfig, RnnConfig
from evenfall_egru.models.fast_egru import make_output, new_cache, settings_of
from evenfall_egru.models.pretrained_egru import (
    CACHE,
    EgruCausalLMOutput,
    EgruClassifierOutput,
    EgruModelOutput,
    EgruTokenClassifierOutput,
)

ONE, TWO = torch.ones(1), torch.zeros(2)


def count_calls(function: Callable[[], object]) -> int:
    """Calls of Python and C functions, after some to warm up."""
    for _ in range(3):
        function()
    found = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal found
        found += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return found


@pytest.mark.parametrize(
    ("most", "options"),
    [
        (600, {}),  # it was 1060; Llama has 744 and Mamba 543
        (560, {"use_cache": False}),  # 936
    ],
)
def test_a_bare_call_for_one_token_takes_few_calls(
    make_egru: Callable[..., Any], most: int, options: dict[str, Any]
) -> None:
    model, ids = make_egru(), torch.tensor([[3]])
    with torch.no_grad():
        assert 0 < count_calls(lambda: model(ids, **options)) <= most


def test_a_token_with_a_cache_takes_few_calls(make_egru: Callable[..., Any]) -> None:
    model, ids = make_egru(), torch.tensor([[3]])
    with torch.no_grad():
        cache = DynamicCache(config=model.config)
        model(ids, past_key_values=cache)
        assert 0 < count_calls(lambda: model(ids, past_key_values=cache)) <= 340
    # With gradients, the modules are called one by one: it was 1089.
    assert 0 < count_calls(lambda: model(ids, past_key_values=cache)) <= 740


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (EgruModelOutput, {"last_hidden_state": ONE, "hidden_states": (ONE, TWO)}),
        (EgruModelOutput, {"last_hidden_state": ONE, "activity": (ONE,), "events": (TWO,)}),
        (EgruCausalLMOutput, {"loss": ONE, "logits": TWO, CACHE: DynamicCache()}),
        (EgruCausalLMOutput, {"logits": TWO, CACHE: None}),
        (EgruCausalLMOutput, {"loss": ONE}),
        (EgruClassifierOutput, {"logits": TWO, "activity": (ONE,), CACHE: None}),
        (EgruTokenClassifierOutput, {"loss": ONE, "logits": TWO}),
    ],
)
def test_outputs_equal_those_of_the_constructor(kind: type, values: dict[str, Any]) -> None:
    fast, slow = make_output(kind, **values), kind(**values)
    assert type(fast) is type(slow)
    assert list(fast.items()) == list(slow.items())
    assert fast.__dict__ == slow.__dict__
    assert fast.to_tuple() == slow.to_tuple()
    flat, want = (torch.utils._pytree.tree_flatten(x) for x in (fast, slow))
    assert flat[1] == want[1]


@pytest.mark.parametrize("kind", [EgruConfig, RnnConfig])
def test_caches_are_those_of_the_configuration(kind: Any) -> None:
    config = kind(hidden_sizes=[4, 3, 2])
    first, second, want = new_cache(config, 3), new_cache(config, 3), DynamicCache(config=config)
    for cache in (first, second):
        assert type(cache) is DynamicCache
        assert cache.__dict__.keys() == want.__dict__.keys()
        assert [vars(layer) for layer in cache.layers] == [vars(layer) for layer in want.layers]
        assert [type(layer) for layer in cache.layers] == [type(layer) for layer in want.layers]
    first.layers[0].update(ONE[None], TWO[None])
    assert not second.layers[0].is_initialized
    assert not new_cache(config, 3).layers[0].is_initialized


def test_settings_are_the_fields_of_the_configuration() -> None:
    config = EgruConfig(hidden_sizes=[4, 3])
    settings = settings_of(config)
    assert (settings.zoneout, settings.layer_types) == (0.0, ["egru", "egru"])
    config.zoneout = 0.5
    assert settings.zoneout == 0.5
    with pytest.raises(AttributeError, match="unheard_of"):
        settings.unheard_of  # noqa: B018
