"""measure() equals hand counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from evenfall_sparsity import measure, prune
from evenfall_sparsity.measurement import draw_measurement


def ints(*shape: int) -> Any:
    """Numbers of which about half are zero."""
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randint(-1, 2, shape, generator=generator)
        * torch.randint(1, 9, shape, generator=generator).float()
    )


@pytest.fixture
def model() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3))


def test_every_product_is_counted_once(model: Any) -> None:
    prune(model, 0.5)
    x = ints(5, 6)
    result = measure(model, x)
    values, want = [], 0
    with torch.no_grad():
        for module in model:
            if isinstance(module, nn.Linear):
                values.append(x)
                want += int(((x != 0).double() @ (module.weight != 0).double().T).sum())
            x = module(x)
    assert (result.item, result.items) == ("sample", 5)
    assert result.dense_macs == 6 * 8 + 8 * 4 + 4 * 3
    assert result.effective_macs == pytest.approx(want / 5)
    assert result.effective_acs == 0
    assert result.connection_sparsity == pytest.approx(46 / 92)
    hidden = [*values[1:]]
    zeros = sum(int((one == 0).sum()) for one in hidden)
    assert result.activation_sparsity == pytest.approx(zeros / (5 * (8 + 4)))
    assert result.backward_sparsity == result.activation_sparsity
    assert result.parameters == 92 + 15
    assert result.footprint == 4 * (92 + 15)
    assert [one.part for one in result.matrices] == ["first layer's input", "hidden", "decoder"]
    assert result.part("hidden")[0] == 32
    assert (result.unknown, result.not_called) == ({}, ())


def test_density_times_activity_is_another_figure_than_the_count() -> None:
    """Input 0 fires always and has no weights; input 1 never fires and has all of them."""
    layer = nn.Linear(2, 4, bias=False)
    with torch.no_grad():
        layer.weight[:, 0] = 0
    (matrix,) = measure(layer, torch.tensor([[3.0, 0]])).matrices
    assert (matrix.density, matrix.activity) == (0.5, 0.5)
    assert matrix.expected == 2
    assert matrix.effective_macs == 0


def test_inputs_of_one_need_additions_alone() -> None:
    result = measure(nn.Linear(3, 2), torch.tensor([[1.0, 0, -1]]))
    assert (result.effective_macs, result.effective_acs) == (0, 4)


def test_egru_counts_rows_of_units_that_fired(make_egru: Callable[..., Any], ids: Any) -> None:
    model = make_egru()
    prune(model, 0.8, block=(1, 4))
    result = measure(model, {"input_ids": ids})
    with torch.no_grad():
        hidden = model(ids, output_hidden_states=True).hidden_states
    want = 0
    for index, layer in enumerate(model.model.layers):
        y, x = hidden[index + 1], hidden[index]
        before = torch.cat([torch.zeros_like(y[:, :1]), y[:, :-1]], 1)
        for values, weight in ((x, layer.kernel), (before, layer.recurrent_kernel)):
            want += int(((values != 0).double() @ (weight != 0).double()).sum())
    decoder = int((hidden[-1] != 0).sum()) * 41
    assert (result.item, result.items) == ("token", 18)
    assert result.effective_macs == pytest.approx((want + decoder) / 18)
    assert result.dense_macs == 3 * 20 * (12 + 20) + 3 * 12 * (20 + 12) + 12 * 41
    assert result.part("decoder") == (492, pytest.approx(decoder / 18))
    assert result.part("first layer's input")[0] == 12 * 60
    zeros = sum(int((one == 0).sum()) for one in hidden[1:])
    assert result.activation_sparsity == pytest.approx(zeros / (18 * 32))
    assert 0 < result.backward_sparsity < result.activation_sparsity
    assert [one.name for one in result.units] == ["model.layers.0", "model.layers.1"]


def test_published_dense_total(make_egru: Callable[..., Any]) -> None:
    """24.165 million for 750 - 1350 - 1350 - 750, without the decoder."""
    model = make_egru(vocab_size=5, embedding_size=750, hidden_sizes=[1350, 1350, 750])
    result = measure(model, {"input_ids": torch.tensor([[1, 2]])})
    assert result.dense_macs - result.part("decoder")[0] == 24_165_000


def test_masked_tokens_are_no_items(make_egru: Callable[..., Any], ids: Any) -> None:
    mask = torch.ones_like(ids)
    mask[0, :4] = 0
    assert measure(make_egru(), {"input_ids": ids, "attention_mask": mask}).items == 14
    assert measure(make_egru(), (ids,)).items == 18
    assert measure(make_egru(), ids, items=9).items == 9


def test_tied_decoder_is_one_matrix_with_one_density(
    make_egru: Callable[..., Any], ids: Any
) -> None:
    result = measure(make_egru(), ids)
    assert "model.embed_tokens.weight" not in [one.name for one in result.matrices]
    assert "lm_head.weight" in [one.name for one in result.matrices]


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_recurrent_module_has_no_decoder(kind: Any) -> None:
    gates = {nn.RNN: 1, nn.GRU: 3, nn.LSTM: 4}[kind]
    result = measure(kind(3, 5, batch_first=True), torch.ones(2, 4, 3))
    assert result.dense_macs == 4 * gates * 5 * (3 + 5)
    assert [one.part for one in result.matrices] == ["first layer's input", "hidden"]
    assert result.activation_sparsity == 0
    assert result.backward_sparsity is None


class Own(nn.Linear):
    def forward(self, input: Any) -> Any:
        return super().forward(input) + 1


def test_what_is_not_counted_is_named() -> None:
    model = nn.Sequential(nn.Linear(3, 3), Own(3, 2))
    model.spare = nn.Identity()
    result = measure(model, torch.ones(1, 3))
    assert list(result.unknown) == ["1"]
    assert result.dense_macs == 9
    assert measure(nn.Identity(), torch.ones(1, 3)).activation_sparsity is None


def test_wrappers_are_opened_and_modes_kept(model: Any) -> None:
    model[1].eval()
    assert measure(torch.compile(model), torch.ones(1, 6)).dense_macs == 92
    assert [module.training for module in model] == [True, False, True, True, True]
    assert not any(module._forward_hooks for module in model.modules())


def test_weights_below_an_adapter_are_counted() -> None:
    peft = pytest.importorskip("peft")
    wrapped = peft.get_peft_model(
        nn.Sequential(nn.Linear(6, 6)), peft.LoraConfig(target_modules=["0"], r=2)
    )
    result = measure(wrapped, torch.ones(1, 6))
    assert result.dense_macs == 36 + 2 * 12


def test_figures_are_json_and_picture(model: Any, tmp_path: Path) -> None:
    result = measure(model, ints(5, 6))
    figures = json.loads(json.dumps(result.as_dict()))
    assert figures["dense_macs"] == 92
    assert figures["matrices"][0]["expected"] == result.matrices[0].expected
    assert draw_measurement(result, tmp_path / "a.png").stat().st_size > 1000
    with pytest.raises(ValueError, match="no matrix to draw"):
        draw_measurement(measure(nn.ReLU(), torch.ones(1, 2)), tmp_path / "b.png")


@pytest.mark.parametrize(
    ("batch", "items", "words"),
    [
        (torch.ones(1, 6), 0, "items must be an integer of at least 1, got 0"),
        (torch.ones(1, 6), 2.5, "items must be an integer of at least 1, got 2.5"),
        (torch.ones(0, 6), None, "batch must have at least one sample, got 0"),
        ({"depth": 3}, None, "items must be given: the batch has no tensor"),
    ],
)
def test_wrong_items(model: Any, batch: Any, items: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        measure(model, batch, items=items)


def test_only_modules_are_measured() -> None:
    with pytest.raises(TypeError, match=r"must be a torch.nn.Module, got a int"):
        measure(3, torch.ones(1))


def test_tokens_are_found_however_they_are_given() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=16, hidden_size=8, intermediate_size=12, num_hidden_layers=1,
        num_attention_heads=2,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).eval()
    ids, mask = torch.arange(14).view(2, 7), torch.ones(2, 7, dtype=torch.int64)
    mask[1, :3] = 0
    vectors = model.get_input_embeddings()(ids).detach()
    batches: list[Any] = [
        {"input_ids": ids, "attention_mask": mask},
        (ids, mask),
        {"inputs_embeds": vectors, "attention_mask": mask},
    ]
    assert {(m.item, m.items) for m in (measure(model, b) for b in batches)} == {("token", 11)}
    longer = torch.cat([torch.ones(2, 4, dtype=torch.int64), mask], 1)
    cache = transformers.DynamicCache(config=config)
    model(ids[:, :4], past_key_values=cache)
    batch = {"input_ids": ids, "attention_mask": longer, "past_key_values": cache}
    assert measure(model, batch).items == 11
    whole = torch.ones(2, 1, 7, 7, dtype=torch.bool)
    with pytest.raises(ValueError, match="items must be given: which tokens"):
        measure(model, {"input_ids": ids, "attention_mask": whole})
    assert measure(model, {"input_ids": ids, "attention_mask": whole}, items=14).items == 14


def test_an_empty_matrix_has_figures() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 0))
    assert measure(model, torch.randn(2, 4)).as_dict()["dense_macs"] == 16


def test_weights_that_are_no_ordinary_tensors_are_an_error() -> None:
    ao = pytest.importorskip("torchao.quantization")
    model = nn.Sequential(nn.Linear(32, 32))
    ao.quantize_(model, ao.Int8WeightOnlyConfig())
    with pytest.raises(ValueError, match=r"cannot be counted.*0\.weight"):
        measure(model, torch.randn(2, 32))
