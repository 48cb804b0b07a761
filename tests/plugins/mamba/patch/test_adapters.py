"""Adapters and hooks on the layers of a Mamba block count, in training and token by token."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import evenfall
from evenfall_mamba.ssm.parts import step_layers

from ..conftest import MAKERS, logits_in_pieces, make_model
from ..huggingface.mamba2_models import MAKERS as MAMBA2_MAKERS

needs_mamba_ssm = pytest.mark.skipif(
    importlib.util.find_spec("mamba_ssm") is None, reason="mamba_ssm is not installed"
)
CLOSE: dict[str, float] = {"rtol": 1e-5, "atol": 1e-5}
LAYERS = ("in_proj", "conv1d", "x_proj", "dt_proj", "out_proj")


MAMBA2_LAYERS = ("in_proj", "conv1d", "norm", "out_proj")
BLOCKS = [("Mamba", name) for name in LAYERS] + [("Mamba2", name) for name in MAMBA2_LAYERS]
SIMPLE = [("Mamba2Simple", name) for name in MAMBA2_LAYERS]
FAMILIES = (
    [(family, "conv1d") for family in ("Mamba", "Zamba", "Mamba2", "NemotronH")]
    + [(family, "dt_proj") for family in ("Mamba", "FalconMamba", "Jamba")]
    + [("Mamba", "x_proj"), ("Mamba2", "norm"), ("Mamba2", "out_proj")]
)
SIZES: dict[str, dict[str, Any]] = {
    "Mamba": {"d_state": 4},
    "Mamba2": {"d_state": 4, "headdim": 8},
    "Mamba2Simple": {"d_state": 4, "headdim": 8},
}


@contextmanager
def patched_block(kind: str) -> Iterator[Any]:
    with evenfall.patch("mamba", targets=["mamba_ssm"]):
        torch.manual_seed(0)
        module = importlib.import_module(
            "mamba_ssm.modules.mamba2_simple" if kind == "Mamba2Simple" else "mamba_ssm"
        )
        block = getattr(module, kind)(16, layer_idx=0, **SIZES[kind])
        bias = block.dt_proj.bias if kind == "Mamba" else block.dt_bias
        nn.init.zeros_(bias)  # so that the step is large enough to be seen
        yield block


def x() -> Tensor:
    return 5 * torch.randn(2, 9, 16, generator=torch.Generator().manual_seed(1))


class Adapter(nn.Module):
    """As in peft: `weight` is that of the layer below, and the output has an addition."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base
        self.delta = nn.Parameter(0.1 * torch.randn_like(base.weight))

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.base, name)

    def forward(self, *inputs: Tensor) -> Any:
        weight = self.base.weight + self.delta
        return torch.func.functional_call(self.base, {"weight": weight}, inputs)


def adapt(block: nn.Module, name: str) -> Adapter:
    adapter = Adapter(getattr(block, name))
    setattr(block, name, adapter)
    return adapter


def merge(block: nn.Module, name: str) -> None:
    adapter = getattr(block, name)
    with torch.no_grad():
        adapter.base.weight.add_(adapter.delta)
    setattr(block, name, adapter.base)


def check_merged(run: Callable[[], Tensor], block: nn.Module, name: str) -> None:
    """An adapter changes the output as its merged weight does, and has a gradient."""
    plain = run()
    adapter = adapt(block, name)
    adapted = run()
    adapted.square().sum().backward()
    assert adapter.delta.grad is not None
    assert adapter.delta.grad.abs().sum() > 0
    merge(block, name)
    torch.testing.assert_close(adapted, run(), **CLOSE)
    assert (adapted - plain).abs().max() > 1e-4


@needs_mamba_ssm
@pytest.mark.parametrize(("kind", "name"), BLOCKS + SIMPLE)
@pytest.mark.parametrize("fast", [True, False])
def test_an_adapter_equals_its_merged_weight(kind: str, name: str, fast: bool) -> None:
    with patched_block(kind) as block:
        block.use_fast_path = block.use_mem_eff_path = fast
        check_merged(lambda: block(x()), block, name)


@needs_mamba_ssm
@torch.no_grad()
@pytest.mark.parametrize(("kind", "name"), BLOCKS)
def test_tokens_one_by_one_equal_the_whole(kind: str, name: str) -> None:
    with patched_block(kind) as block:
        adapt(block, name)
        whole = block(x())
        inference = SimpleNamespace(key_value_memory_dict={}, seqlen_offset=0)
        parts = [block(x()[:, :3], inference_params=inference)]
        for t in range(3, 9):
            inference.seqlen_offset = t
            parts.append(block(x()[:, t : t + 1], inference_params=inference))
    torch.testing.assert_close(torch.cat(parts, 1), whole, **CLOSE)


@needs_mamba_ssm
@torch.no_grad()
def test_packed_sequences_do_not_mix_in_an_adapted_convolution() -> None:
    with patched_block("Mamba2") as block:
        adapt(block, "conv1d")
        packed = block(x()[:1], cu_seqlens=torch.tensor([0, 4, 9]))
        separate = torch.cat([block(x()[:1, :4]), block(x()[:1, 4:])], 1)
    torch.testing.assert_close(packed, separate, **CLOSE)


@needs_mamba_ssm
@torch.no_grad()
@pytest.mark.parametrize(("kind", "name"), BLOCKS)
def test_hooks_run(kind: str, name: str) -> None:
    calls: list[str] = []
    with patched_block(kind) as block:
        getattr(block, name).register_forward_hook(lambda *_: calls.append(name))
        block(x())
    assert calls == [name]


def adapted_model(family: str) -> tuple[Any, nn.Module]:
    """A model of transformers and the mixer of its first Mamba layer."""
    model = make_model(family, MAKERS | MAMBA2_MAKERS)
    mixer = next(m for m in model.modules() if hasattr(m, "conv1d"))
    with torch.no_grad():  # a step that is large enough to be seen
        for name, parameter in mixer.named_parameters():
            if name in ("dt_bias", "dt_proj.bias", "dt_proj_bias"):
                parameter.zero_()
    return model, mixer


@pytest.mark.parametrize(("family", "name"), FAMILIES)
def test_an_adapter_in_transformers_equals_its_merged_weight(
    family: str, name: str, ids: Tensor
) -> None:
    model, mixer = adapted_model(family)
    with evenfall.patch("mamba", targets=["transformers"]):
        check_merged(lambda: model.train()(ids, use_cache=False).logits, mixer, name)


@torch.no_grad()
@pytest.mark.parametrize("family", ["Mamba", "Zamba", "Mamba2"])
def test_pieces_of_a_text_equal_the_whole_with_adapters(family: str, ids: Tensor) -> None:
    model, mixer = adapted_model(family)
    adapt(mixer, "conv1d")
    if hasattr(mixer, "dt_proj"):
        adapt(mixer, "dt_proj")
    with evenfall.patch("mamba", targets=["transformers"]):
        whole = model(ids).logits
        pieces = logits_in_pieces(model, ids, [5, 1, 1, 5])
        packed = model(ids[:1], seq_idx=torch.tensor([[0] * 4 + [1] * 8]), use_cache=False).logits
        separate = [model(part, use_cache=False).logits for part in ids[:1].split([4, 8], dim=1)]
    torch.testing.assert_close(pieces, whole, rtol=0, atol=1e-4)
    if family != "Zamba":  # its attention needs position_ids
        torch.testing.assert_close(packed, torch.cat(separate, 1), rtol=0, atol=1e-4)


def test_a_step_has_one_token() -> None:
    with pytest.raises(ValueError, match=r"shape \(batch, 1, width\), got \(1, 2, 4\)"):
        step_layers(None, torch.ones(1, 2, 4), torch.ones(1), torch.ones(1))


@needs_mamba_ssm
def test_lora_of_peft_trains() -> None:
    peft = pytest.importorskip("peft")
    with evenfall.patch("mamba", targets=["mamba_ssm"]):
        torch.manual_seed(0)
        block = importlib.import_module("mamba_ssm").Mamba(16, d_state=4)
        targets = ["in_proj", "x_proj", "dt_proj", "out_proj"]
        config = peft.LoraConfig(r=2, target_modules=targets, init_lora_weights=False)
        model = peft.get_peft_model(nn.ModuleDict({"block": block}), config)
        layer = model.base_model.model["block"]
        adapted = layer(x())
        adapted.square().sum().backward()
        gradients = {n: p.grad for n, p in layer.named_parameters() if p.requires_grad}
        assert len(gradients) == 8
        assert all(g is not None and g.abs().sum() > 0 for g in gradients.values())
        model.merge_adapter()
        torch.testing.assert_close(layer(x()), adapted, rtol=1e-4, atol=1e-3)
