"""Operations counted during a call of the model, and from activity by `count_macs`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from transformers import DynamicCache

from evenfall.counting import count_operations, counter_for, list_matrices
from evenfall_egru.evaluation.counters import EGRU_DECODER, EGRU_LAYER
from evenfall_egru.evaluation.macs import count_macs
from evenfall_egru.models import layer_egru
from evenfall_kernels import egru_scan


@pytest.fixture
def model(make_egru: Callable[..., Any]) -> Any:
    """A model with enough events for the counts to differ."""
    model = make_egru(threshold_mean=0.1)
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(8)
    return model


def test_every_module_is_known(model: Any) -> None:
    count = count_operations(model, torch.tensor([[1, 2, 3]]))
    assert (count.unknown, count.not_called) == ({}, ())
    names = ["model.embed_tokens", "model.layers.0", "model.layers.1", "lm_head"]
    assert sorted(count.modules) == sorted(names)


def test_matrices_of_the_model(model: Any) -> None:
    assert [(one.name, one.matrix.role, one.shared_with) for one in list_matrices(model)] == [
        ("model.embed_tokens.weight", "lookup", None),
        ("model.layers.0.kernel", "input", None),
        ("model.layers.0.recurrent_kernel", "recurrent", None),
        ("model.layers.1.kernel", "input", None),
        ("model.layers.1.recurrent_kernel", "recurrent", None),
        ("lm_head.weight", "input", "model.embed_tokens.weight"),
    ]


@pytest.mark.parametrize("with_state", [False, True])
def test_operations_are_those_of_the_units_that_fired(model: Any, with_state: bool) -> None:
    ids = torch.randint(41, (2, 9), generator=torch.Generator().manual_seed(3))

    def make_cache() -> Any:
        cache = DynamicCache(config=model.config)
        if with_state:
            model(ids.flip(1), past_key_values=cache, use_cache=True)
        return cache

    with torch.no_grad():
        first = (
            [layer.keys for layer in make_cache().layers]
            if with_state
            else [torch.zeros(2, 20), torch.zeros(2, 12)]
        )
        count = count_operations(model, ids, past_key_values=make_cache(), use_cache=True)
        hidden = model(ids, past_key_values=make_cache(), output_hidden_states=True).hidden_states
    want = 0
    for index, units in enumerate((20, 12)):
        y = hidden[index + 1]
        before = torch.cat([first[index][:, None], y[:, :-1]], 1)
        want += 3 * units * (int((hidden[index] != 0).sum()) + int((before != 0).sum()))
    want += 41 * int((hidden[2] != 0).sum())
    assert count.total.effective_macs == want
    assert count.total.dense_macs == 18 * (3 * 20 * (12 + 20) + 3 * 12 * (20 + 12) + 41 * 12)
    assert 0 < want < count.total.dense_macs


@torch.no_grad()
@pytest.mark.parametrize("padded", [False, True])
def test_a_cache_that_records_states_does_not_change_the_count(model: Any, padded: bool) -> None:
    """The layers then return the state after each token; also of a text that has ended."""
    ids = torch.randint(41, (3, 9), generator=torch.Generator().manual_seed(3))
    mask = torch.ones_like(ids)
    if padded:
        mask[0, 4:], mask[1] = 0, 0
    counts = []
    for records in (False, True):
        cache = DynamicCache(config=model.config)
        model(ids.flip(1), past_key_values=cache, use_cache=True)
        for layer in cache.layers:
            layer.record_past = records
        found = count_operations(
            model, ids, attention_mask=mask, past_key_values=cache, use_cache=True
        )
        counts.append(found.total)
    assert counts[0] == counts[1]
    assert counts[0].effective_macs > 0


def test_packed_sequences_count_each_from_its_start(model: Any) -> None:
    ids = torch.randint(41, (2, 9), generator=torch.Generator().manual_seed(3))
    mask = torch.ones_like(ids)
    mask[0, :4] = 0
    padded = count_operations(model, ids, attention_mask=mask)
    alone = [count_operations(model, ids[:1, 4:]), count_operations(model, ids[1:])]
    for name in ("model.layers.0", "model.layers.1"):
        assert padded.modules[name] == alone[0].modules[name] + alone[1].modules[name]


def test_rates_of_count_macs_agree_where_weights_are_dense(model: Any) -> None:
    ids = torch.randint(41, (1, 200), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        events = model(ids, output_events=True).events
    macs = count_macs(model, [float(e.double().mean()) for e in events])
    count = count_operations(model, ids).total
    assert count.dense_macs == 200 * macs["dense"]
    # Nothing reads the last state.
    assert count.effective_macs == pytest.approx(200 * macs["effective"], rel=0.01)


def test_code_that_travels_with_a_checkpoint_is_another_class(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "transformers_modules.test.layer_egru"
    copy = ModuleType(name)
    copy.__package__ = "evenfall_egru.models"  # for its relative imports
    monkeypatch.setitem(sys.modules, name, copy)
    with open(layer_egru.__file__, encoding="utf-8") as file:
        exec(compile(file.read(), name, "exec"), vars(copy))
    assert counter_for(layer_egru.EgruDecoder(2, 3)) is EGRU_DECODER
    assert copy.EgruDecoder.__name__ == "EgruDecoder"
    assert counter_for(copy.EgruDecoder(2, 3)) is None


def test_layer_is_known(model: Any) -> None:
    assert counter_for(model.model.layers[0]) is EGRU_LAYER
    assert counter_for(torch.compile(model.lm_head)) is EGRU_DECODER


def test_decoder_with_an_adapter_is_no_silent_figure(model: Any) -> None:
    class Adapted(layer_egru.EgruDecoder):
        def forward(self, y: Any, event_driven: bool = False) -> Any:
            return super().forward(y, event_driven) * 2

    model.lm_head = Adapted(12, 41)
    words = "cannot count the operations of the decoder: no counter is registered for its class Ad"
    with pytest.raises(ValueError, match=words):
        count_macs(model, [0.5, 0.5])


@pytest.mark.parametrize("carry", ["full", "output"])
def test_silent_units_are_those_without_gradient(model: Any, carry: str) -> None:
    """Of a single step, whose outputs nothing else reads: its gradient shows which are silent."""
    model.config.carry, model.config.support = carry, 3.6
    layer, generator = model.model.layers[0], torch.Generator().manual_seed(3)
    x = torch.randn(50, 1, 12, generator=generator)
    state = (torch.rand(50, 20, generator=generator), torch.rand(50, 20, generator=generator))
    (got,) = count_operations(layer, x, state, None, False).activity.values()
    # c = z h' + (1 - z) g: where no gradient reaches c, none reaches the part x W_g of it.
    bias = layer.bias.detach().expand(50, -1).clone().requires_grad_()
    silent = 0
    for row in range(50):
        h = state[1][row : row + 1] * (carry == "full")
        y, _, events, _ = egru_scan(
            x[row : row + 1], layer.kernel, layer.recurrent_kernel, bias[row],
            layer.recurrent_bias, layer.threshold.clamp(0, 1), return_events=True,
            initial_state=(state[0][row : row + 1], h), support=3.6,
        )  # fmt: skip
        (gradient,) = torch.autograd.grad((y + events).sum(), bias)
        silent += int((gradient[row, 40:] == 0).sum())
    assert (got.silent, got.values) == (silent, 1000)
    assert 0 < got.silent < got.zeros < got.values
