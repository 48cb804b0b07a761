"""Compressed models of transformers with tied weights, or with code that reads a weight itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from evenfall_sparsity import compress, prune
from evenfall_sparsity.compression.costs import Cost, Costs
from evenfall_sparsity.compression.kinds import Kind
from evenfall_sparsity.compression.readers import weight_readers

transformers = pytest.importorskip("transformers")
IDS = torch.randint(3, 32, (2, 7), generator=torch.Generator().manual_seed(0))
SIZES = {
    "Bert": {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24},
    "T5": {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2,
           "decoder_start_token_id": 0},
    "Mamba": {"state_size": 4, "num_hidden_layers": 1},
    "Mamba2": {"state_size": 8, "num_hidden_layers": 1, "num_heads": 4, "head_dim": 8,
               "n_groups": 1, "chunk_size": 4},
}  # fmt: skip
HEADS = {"Bert": "ForMaskedLM", "T5": "ForConditionalGeneration"}


class StoredCosts(Costs):
    """Every stored form is faster than a dense product."""

    def __init__(self) -> None:
        super().__init__(Path("/nowhere/costs.json"))

    def of(self, kind: Kind | None) -> Cost:
        return Cost(0.0, 1.0 if kind is None else 0.1)


@pytest.fixture
def costs() -> Costs:
    return StoredCosts()


def make(kind: str) -> Any:
    torch.manual_seed(0)
    options = {"vocab_size": 32, **({} if kind == "T5" else {"hidden_size": 16}), **SIZES[kind]}
    config = getattr(transformers, f"{kind}Config")(**options)
    model = getattr(transformers, kind + HEADS.get(kind, "ForCausalLM"))(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()
    prune(model, 0.8)
    return model


def logits(model: Any) -> Tensor:
    labels = {"labels": IDS} if model.config.model_type == "t5" else {}
    with torch.no_grad():
        found: Tensor = model(input_ids=IDS, **labels).logits
    return found


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("kind", SIZES)
def test_a_loaded_model_computes_the_same(
    kind: str, exact: bool, costs: Costs, tmp_path: Path
) -> None:
    model = make(kind)
    tied = model.config.tie_word_embeddings
    want = logits(model)
    compress(model, exact=exact, costs=costs)
    compressed = logits(model)
    if exact:
        torch.testing.assert_close(compressed, want, rtol=1e-4, atol=1e-5)
    model.save_pretrained(tmp_path)
    again, about = type(model).from_pretrained(tmp_path, output_loading_info=True)
    assert not about["missing_keys"]
    assert again.config.tie_word_embeddings == tied
    again.tie_weights()
    assert torch.equal(logits(again), compressed)
    again.save_pretrained(tmp_path / "twice")
    dense = again.dequantize()
    torch.testing.assert_close(logits(dense), compressed, rtol=1e-4, atol=1e-5)
    if exact:
        ties = make(kind).all_tied_weights_keys
        assert {a: dense.get_parameter(a) is dense.get_parameter(b) for a, b in ties.items()} == (
            dict.fromkeys(ties, True)
        )
    dense.save_pretrained(tmp_path / "dense")
    for folder in ("twice", "dense"):
        loaded = type(model).from_pretrained(tmp_path / folder)
        torch.testing.assert_close(logits(loaded), compressed, rtol=1e-4, atol=1e-5)


def test_a_file_without_the_bias_of_a_compressed_layer(costs: Costs, tmp_path: Path) -> None:
    model = make("Bert")
    compress(model, costs=costs)
    model.save_pretrained(tmp_path)
    file, name = tmp_path / "model.safetensors", "cls.predictions.decoder.bias"
    tensors = load_file(file)
    del tensors[name]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"have no .*{name}"):
        type(model).from_pretrained(tmp_path)


class Reading(nn.Module):
    """Reads weights in forward, in a method, and in a function."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("called", "read", "helped", "function", "asked"):
            setattr(self, name, nn.Linear(4, 4))
        self.inner = nn.Sequential()
        self.inner.add_module("deep", nn.Linear(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.called(x)
        if isinstance(self.asked.weight, Tensor):
            x = x.contiguous()
        x = self.asked(x.to(self.asked.weight.dtype))
        return x @ self.read.weight @ self.inner.deep.weight + self.help(x) + product(self, x)

    def help(self, x: Tensor) -> Tensor:
        return x @ self.helped.weight

    def unused(self) -> Tensor:
        return self.called.weight


def product(module: Reading, x: Tensor) -> Tensor:
    return nn.functional.linear(x, module.function.weight)


def test_modules_whose_weight_is_read_are_found() -> None:
    model = nn.Sequential(Reading())
    names = {id(module): name for name, module in model.named_modules()}
    found = {names[key]: kind for key, kind in weight_readers(model).items()}
    assert found == dict.fromkeys(["0.read", "0.helped", "0.function", "0.inner.deep"], "Reading")


def test_layers_whose_weight_is_read_stay_as_they_are(costs: Costs) -> None:
    model = Reading()
    prune(model, 0.9)
    x = torch.randn(3, 4)
    with torch.no_grad():
        want = model(x)
        result = compress(model, costs=costs)
        torch.testing.assert_close(model(x), want)
    reasons = {one.name: one.reason for one in result.matrices}
    assert reasons["read.weight"] == "Reading reads its weight itself"
    assert "called.weight" in result.stored
