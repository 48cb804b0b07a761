"""Compressed EGRU and other transformers models: text, saving, loading, and errors."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from evenfall.counting import count_operations
from evenfall_sparsity import compress, measure, prune
from evenfall_sparsity.compression import CompressedLinear, Costs

egru = pytest.importorskip("evenfall_egru")
transformers = pytest.importorskip("transformers")
IDS = torch.randint(60, (1, 9), generator=torch.Generator().manual_seed(0))
Make = Callable[..., Any]


@pytest.fixture(scope="module")
def pruned() -> Make:
    """A function that makes an EGRU whose units fire, 80 % of its blocks removed."""

    def make(**settings: Any) -> Any:
        torch.manual_seed(0)
        sizes = {"vocab_size": 60, "embedding_size": 32, "hidden_sizes": [48, 32]}
        model = egru.EgruForCausalLM(egru.EgruConfig(**{**sizes, **settings})).eval()
        with torch.no_grad():
            model.model.embed_tokens.weight.mul_(4)
        prune(model, 0.8, block=(1, 16))
        return model

    return make


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(IDS).logits
    return found


def text(model: Any) -> list[int]:
    return model.generate(IDS, max_new_tokens=12, do_sample=False)[0].tolist()


def load(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder)


def test_logits_and_greedy_text_equal_those_of_the_pruned_model(pruned: Make, costs: Costs) -> None:
    model = pruned()
    want, words = logits(model), text(model)
    result = compress(model, {"input_ids": IDS}, costs=costs)
    forms = {row.name: row.form for row in result.matrices}
    assert [form.split(",")[0] for form in forms.values()] == ["blocks 1x16"] * 4 + ["as it is"]
    torch.testing.assert_close(logits(model), want, rtol=1e-5, atol=1e-5)
    assert text(model) == words


def test_a_batch_padding_events_and_a_loss(pruned: Make, costs: Costs) -> None:
    model = pruned()
    batch = {
        "input_ids": IDS.repeat(3, 1),
        "attention_mask": torch.ones(3, 9, dtype=torch.int64),
        "labels": IDS.repeat(3, 1),
        "output_events": True,
    }
    batch["attention_mask"][1, :4] = 0
    with torch.no_grad():
        want = model(**batch)
        compress(model, costs=costs)
        got = model(**batch)
    torch.testing.assert_close(got.logits, want.logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(got.loss, want.loss)
    torch.testing.assert_close(got.activity, want.activity)


def test_a_compressed_folder_loads_by_automodel(pruned: Make, costs: Costs, tmp_path: Path) -> None:
    model = pruned()
    dense = model.num_parameters() * 4
    compress(model, costs=costs)
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_size < 0.6 * dense
    again = load(tmp_path)
    assert torch.equal(logits(again), logits(model))
    assert text(again) == text(model)
    assert {n: t.dtype for n, t in again.state_dict().items()} == {
        n: t.dtype for n, t in model.state_dict().items()
    }
    again.save_pretrained(tmp_path / "twice")
    assert torch.equal(logits(load(tmp_path / "twice")), logits(model))


@pytest.mark.parametrize("tied", [True, False])
def test_lossy_forms_leave_the_embedding_as_it_is(
    pruned: Make, costs: Costs, tmp_path: Path, tied: bool
) -> None:
    model = pruned(tie_word_embeddings=tied)
    words, want = model.model.embed_tokens.weight.clone(), logits(model)
    result = compress(model, exact=False, costs=costs)
    last = result.matrices[-1]
    assert last.form == ("rows, int8" if tied else "blocks 1x16, int8")
    assert last.reason.endswith("the table that it was tied to stays") == tied
    assert torch.equal(model.model.embed_tokens.weight, words)
    assert (logits(model) - want).abs().max() < 0.1 * want.abs().max()
    model.save_pretrained(tmp_path)
    again = load(tmp_path)
    assert torch.equal(logits(again), logits(model))
    assert torch.equal(again.model.embed_tokens.weight, words)


def test_dequantize_gives_the_pruned_model_back(pruned: Make, costs: Costs, tmp_path: Path) -> None:
    model = pruned()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    compress(model, costs=costs)
    copied = copy.deepcopy(model)
    dense = model.dequantize()
    assert {n: torch.equal(t, before[n]) for n, t in dense.state_dict().items()} == dict.fromkeys(
        before, True
    )
    dense.save_pretrained(tmp_path)
    assert "quantization_config" not in json.loads((tmp_path / "config.json").read_text())
    torch.testing.assert_close(logits(copied), logits(dense), rtol=1e-5, atol=1e-5)


def test_operations_are_counted_as_before(pruned: Make, costs: Costs) -> None:
    model = pruned()
    want = count_operations(model, IDS)
    compress(model, costs=costs)
    got = count_operations(model, IDS)
    assert (got.total, got.unknown, got.not_called) == (want.total, want.unknown, want.not_called)
    assert {n: [p.operations for p in parts] for n, parts in got.products.items()} == {
        n: [p.operations for p in parts] for n, parts in want.products.items()
    }


def test_measure_counts_the_same_operations_and_a_smaller_footprint(
    pruned: Make, costs: Costs
) -> None:
    model, batch = pruned(), {"input_ids": IDS}
    before = measure(model, batch)
    compress(model, costs=costs)
    after = measure(model, batch)
    assert (after.dense_macs, after.effective_macs) == (before.dense_macs, before.effective_macs)
    assert after.connection_sparsity == before.connection_sparsity
    assert after.activation_sparsity == before.activation_sparsity
    assert after.footprint < 0.7 * before.footprint


def test_training_is_refused(pruned: Make, costs: Costs) -> None:
    model = pruned()
    compress(model, costs=costs)
    with pytest.raises(ValueError, match="a quantised or compressed model cannot be trained"):
        model.train()(IDS)


def test_a_host_model_of_linear_layers(costs: Costs, tmp_path: Path) -> None:
    config = transformers.LlamaConfig(
        vocab_size=60, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config).eval()
    prune(model, 0.9, block=(1, 16))
    want, operations = logits(model), count_operations(model, IDS).total
    compress(model, costs=costs)
    assert isinstance(model.model.layers[0].mlp.up_proj, CompressedLinear)
    torch.testing.assert_close(logits(model), want, rtol=1e-4, atol=1e-4)
    assert count_operations(model, IDS).total == operations
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(load(tmp_path)), logits(model))


def change_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] |= changes
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "version must be 1, got 2"),
        ({"matrices": {"model.x": {}}}, "no parameter model.x"),
        (
            {"matrices": {"model.layers.0.kernel": {"format": "tiles"}}},
            "cannot read the description",
        ),
        ({"quant_method": "unheard-of"}, "compressed.*'unheard-of'"),
    ],
)
def test_damaged_folders(
    pruned: Make, costs: Costs, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    model = pruned()
    compress(model, costs=costs)
    model.save_pretrained(tmp_path)
    change_config(tmp_path, **changes)
    with pytest.raises(ValueError, match=message):
        load(tmp_path)


def test_folder_without_a_part_of_a_matrix(pruned: Make, costs: Costs, tmp_path: Path) -> None:
    model = pruned()
    compress(model, costs=costs)
    model.save_pretrained(tmp_path)
    file, name = tmp_path / "model.safetensors", "model.layers.0.kernel.values"
    tensors = load_file(file)
    del tensors[name]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"have no .*{name}"):
        load(tmp_path)


def test_loading_does_not_compress(pruned: Make, tmp_path: Path) -> None:
    from evenfall_sparsity.compression.hosts import CompressionConfig

    pruned().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="compress a loaded model"):
        transformers.AutoModelForCausalLM.from_pretrained(
            tmp_path, quantization_config=CompressionConfig({})
        )
