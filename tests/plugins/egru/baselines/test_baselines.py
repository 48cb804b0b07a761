"""The baselines compute what torch.nn.LSTM and torch.nn.GRU compute."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch.nn.functional as F
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

from evenfall.counting import count_operations, find_unit_groups
from evenfall_egru import EgruConfig, EgruForCausalLM, RnnConfig, RnnForCausalLM
from evenfall_egru.baselines import RnnLayer
from evenfall_egru.evaluation import evaluate_tokens

CELLS = ("lstm", "gru")


def make(cell: str, **settings: object) -> RnnForCausalLM:
    torch.manual_seed(0)
    sizes = {"vocab_size": 41, "embedding_size": 12, "hidden_sizes": [20, 12]}
    return RnnForCausalLM(RnnConfig(cell=cell, **{**sizes, **settings})).eval()


def plain(model: RnnForCausalLM, ids: torch.Tensor) -> torch.Tensor:
    """The logits of a stack of torch's modules with the model's weights."""
    kind = {"lstm": nn.LSTM, "gru": nn.GRU}[model.config.cell]
    x = F.embedding(ids, model.model.embed_tokens.weight)
    for layer in model.model.layers:
        rnn = kind(layer.rnn.input_size, layer.rnn.hidden_size, batch_first=True)
        rnn.load_state_dict(layer.rnn.state_dict())
        x, _ = rnn(x)
    return F.linear(x, model.model.embed_tokens.weight, model.lm_head.bias)


@pytest.mark.parametrize("cell", CELLS)
def test_logits_and_loss_equal_those_of_torch(cell: str, ids: torch.Tensor) -> None:
    model = make(cell)
    out = model(ids, labels=ids)
    want = plain(model, ids)
    torch.testing.assert_close(out.logits, want)
    torch.testing.assert_close(out.loss, F.cross_entropy(want[:, :-1].mT, ids[:, 1:]))
    blocks = model(ids, labels=ids, skip_logits=True)
    torch.testing.assert_close(blocks.loss, out.loss)


@pytest.mark.parametrize("cell", CELLS)
def test_an_output_carry_passes_h_alone(cell: str, ids: torch.Tensor) -> None:
    model = make(cell, carry="output", hidden_sizes=[12])
    cache = model(ids, use_cache=True).past_key_values
    h, c = cache.layers[0].state()
    got = model(ids, past_key_values=cache).logits
    cache = DynamicCache(config=model.config)
    cache.layers[0].update(h, torch.zeros_like(c))
    model.config.carry = "full"
    torch.testing.assert_close(got, model(ids, past_key_values=cache).logits)


@pytest.mark.parametrize("cell", CELLS)
def test_dropconnect_drops_recurrent_weights_and_trains_them(cell: str, ids: torch.Tensor) -> None:
    layer = make(cell, dropconnect=0.999999).model.layers[0].train()
    x = torch.randn(3, 5, 12)
    y, _, _ = layer(x, None, None, False)
    kept = layer.rnn.weight_hh_l0.detach().clone()
    with torch.no_grad():
        layer.rnn.weight_hh_l0.zero_()
        want, _ = layer.rnn(x)
        layer.rnn.weight_hh_l0.copy_(kept)
    torch.testing.assert_close(y, want)
    torch.testing.assert_close(layer.eval()(x, None, None, False)[0], layer.rnn(x)[0])
    layer.config.dropconnect = 0.5
    layer.train()(x, None, None, False)[0].sum().backward()
    assert 0.1 < float((layer.rnn.weight_hh_l0.grad == 0).float().mean()) < 0.9


@pytest.mark.parametrize("cell", CELLS)
def test_a_text_without_tokens_keeps_its_state(cell: str) -> None:
    layer = make(cell).model.layers[0]
    x, ends = torch.randn(1, 7, 12), torch.tensor([0, 3, 3, 7])
    state = torch.randn(3, 20), torch.randn(3, 20 if cell == "lstm" else 0)
    y, (h, c), _ = layer(x, state, ends, False)
    assert torch.equal(h[1], state[0][1])
    assert torch.equal(c[1], state[1][1])
    for row, rows in ((0, slice(3)), (2, slice(3, 7))):
        one = state[0][row : row + 1], state[1][row : row + 1]
        want, (h_row, _), _ = layer(x[:, rows], one, None, False)
        torch.testing.assert_close(y[:, rows], want)
        torch.testing.assert_close(h[row], h_row[0])


@pytest.mark.parametrize("cell", CELLS)
def test_counts_equal_a_count_by_hand(cell: str, ids: torch.Tensor) -> None:
    model, gates = make(cell), {"lstm": 4, "gru": 3}[cell]
    layers = gates * (12 * 20 + 20 * 20) + gates * (20 * 12 + 12 * 12)
    count = count_operations(model, ids)
    assert not count.unknown
    assert not count.not_called
    assert count.total.dense_macs == ids.numel() * (layers + 12 * 41)
    result = evaluate_tokens(model, ids.reshape(-1), window=9)
    assert result["macs"]["dense"] == layers + 12 * 41
    assert result["activity"] == [1.0, 1.0]


@pytest.mark.parametrize("cell", CELLS)
def test_the_units_of_a_baseline_can_be_permuted(cell: str, ids: torch.Tensor) -> None:
    model, gates = make(cell), {"lstm": 4, "gru": 3}[cell]
    want = model(ids).logits
    groups = {group.size: group for group in find_unit_groups(model)}
    assert sorted(groups) == [12, 20]
    rnn = "model.layers.0.rnn"
    places = {(axis.name, axis.axis, axis.gates) for axis in groups[20].axes}
    assert places == {
        (f"{rnn}.weight_ih_l0", 0, gates), (f"{rnn}.weight_hh_l0", 0, gates),
        (f"{rnn}.weight_hh_l0", 1, 1), (f"{rnn}.bias_ih_l0", 0, gates),
        (f"{rnn}.bias_hh_l0", 0, gates), ("model.layers.1.rnn.weight_ih_l0", 1, 1),
    }  # fmt: skip
    for group in groups.values():
        order = torch.randperm(group.size)
        for axis in group.axes:
            shape = (axis.gates, group.size)
            parts = axis.tensor.detach().unflatten(axis.axis, shape)
            moved = parts.index_select(axis.axis + 1, order).flatten(axis.axis, axis.axis + 1)
            axis.tensor.data.copy_(moved)
    torch.testing.assert_close(model(ids).logits, want)


def test_a_gru_has_the_parameters_of_an_egru_without_thresholds() -> None:
    sizes = {"vocab_size": 41, "embedding_size": 12, "hidden_sizes": [20, 12]}
    egru = EgruForCausalLM(EgruConfig(**sizes)).num_parameters()
    assert make("gru").num_parameters() == egru - 32


def test_the_auto_classes_know_the_models() -> None:
    config = AutoConfig.for_model(
        "rnn", cell="gru", vocab_size=5, embedding_size=3, hidden_sizes=[3]
    )
    model = AutoModelForCausalLM.from_config(config)
    assert type(model) is RnnForCausalLM
    assert type(model.model.layers[0]) is RnnLayer


def test_a_cache_of_egru_is_refused(ids: torch.Tensor) -> None:
    cache = DynamicCache(config=EgruConfig(hidden_sizes=[20, 12]))
    with pytest.raises(ValueError, match="2 layers of type 'rnn', got layers"):
        make("lstm")(ids, past_key_values=cache)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cell": "elman"}, "cell must be 'lstm' or 'gru', got 'elman'"),
        ({"carry": "none"}, "carry must be 'full' or 'output', got 'none'"),
        ({"hidden_sizes": []}, "hidden_sizes must be a non-empty list"),
        ({"dropconnect": 1.0}, "dropconnect must lie in"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RnnConfig(**settings)
