"""Pruned models in transformers, peft and DistributedDataParallel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from torch import nn

from evenfall_sparsity import keep_zeros, prune

MATRICES = ["kernel", "recurrent_kernel"]


@pytest.fixture
def pruned(make_egru: Callable[..., Any]) -> Any:
    """An EGRU model without 80 % of its blocks."""
    model = make_egru()
    prune(model, 0.8, block=(1, 4))
    return model


def weights_of(model: Any) -> list[Any]:
    return [getattr(layer, name) for layer in model.model.layers for name in MATRICES]


def train(model: Any, ids: Any) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(3):
        model(ids, labels=ids, use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def test_default_leaves_the_embedding_and_what_is_tied_to_it(pruned: Any) -> None:
    weights = weights_of(pruned)
    share = sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)
    assert share == pytest.approx(0.8, abs=0.01)
    assert (pruned.model.embed_tokens.weight != 0).all()
    assert pruned.lm_head.weight is pruned.model.embed_tokens.weight


def test_egru_stores_inputs_first_so_blocks_lie_along_its_rows(pruned: Any) -> None:
    for weight in weights_of(pruned):
        for gate in weight.detach().chunk(3, 1):
            for part in gate.split(4, 1):
                removed = (part == 0).sum(1)
                assert ((removed == 0) | (removed == part.shape[1])).all()


def test_loaded_model_has_the_zeros_and_keeps_them(pruned: Any, ids: Any, tmp_path: Path) -> None:
    names = list(pruned.state_dict())
    pruned.save_pretrained(tmp_path)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert list(loaded.state_dict()) == names
    for one, other in zip(weights_of(loaded), weights_of(pruned), strict=True):
        assert torch.equal(one, other)
    before = [w == 0 for w in weights_of(loaded)]
    keep_zeros(loaded)
    train(loaded, ids)
    for weight, other, zero in zip(weights_of(loaded), weights_of(pruned), before, strict=True):
        assert torch.equal(weight == 0, zero)
        assert not torch.equal(weight, other)


def test_generate_works_as_before(pruned: Any, ids: Any) -> None:
    text = pruned.generate(ids, max_new_tokens=3, do_sample=False)
    other = type(pruned)(pruned.config).eval()
    other.load_state_dict(pruned.state_dict())
    assert torch.equal(other.generate(ids, max_new_tokens=3, do_sample=False), text)


def test_transformers_of_linear_layers_are_pruned() -> None:
    config = transformers.LlamaConfig(
        vocab_size=16, hidden_size=8, intermediate_size=12, num_hidden_layers=1,
        num_attention_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config)
    result = prune(model, 0.5)
    assert len(result.matrices) == 7
    assert not any("embed" in one.name or "lm_head" in one.name for one in result.matrices)


def test_weights_below_an_adapter_are_pruned() -> None:
    peft = pytest.importorskip("peft")
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    wrapped = peft.get_peft_model(model, peft.LoraConfig(target_modules=["0"], r=2))
    result = prune(wrapped, 0.5, include="*base_layer.weight")
    assert [one.zeros for one in result.matrices] == [18]


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    """A group of this process alone."""
    if not torch.distributed.is_available():
        pytest.skip("torch has no distributed package")
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("process_group")
@pytest.mark.parametrize("order", ["before", "after"])
def test_distributed_data_parallel_keeps_zeros(
    make_egru: Callable[..., Any], ids: Any, order: str
) -> None:
    model = make_egru(threshold_trainable=False)
    if order == "before":
        prune(model, 0.8)
    parallel = nn.parallel.DistributedDataParallel(model)
    if order == "after":
        prune(parallel, 0.8)
    before = [w == 0 for w in weights_of(model)]
    values = [w.detach().clone() for w in weights_of(model)]
    train(parallel, ids)
    for weight, value, zero in zip(weights_of(model), values, before, strict=True):
        assert torch.equal(weight == 0, zero)
        assert zero.any()
        assert not torch.equal(weight, value)


@pytest.mark.usefixtures("process_group")
@pytest.mark.filterwarnings("ignore:FSDP is switching")
def test_models_sharded_by_fsdp_are_refused() -> None:
    fsdp = pytest.importorskip("torch.distributed.fsdp")
    mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (1,))
    model = nn.Sequential(nn.Linear(4, 4))
    fsdp.fully_shard(model, mesh=mesh)
    wrapped = fsdp.FullyShardedDataParallel(
        nn.Linear(4, 4), device_id=torch.device("cpu"), use_orig_params=True
    )
    for one in (model, wrapped):
        with pytest.raises(ValueError, match="model must not be sharded by FSDP"):
            prune(one, 0.5)
