"""Adapters and hooks on the layers of `mamba_ssm.Mamba` count, in training and token by token."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import evenfall

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mamba_ssm") is None, reason="mamba_ssm is not installed"
)
CLOSE: dict[str, float] = {"rtol": 0, "atol": 1e-5}
LAYERS = ("in_proj", "conv1d", "x_proj", "dt_proj", "out_proj")


@pytest.fixture
def block() -> Iterator[Any]:
    with evenfall.patch("mamba", targets=["mamba_ssm"]):
        torch.manual_seed(0)
        block = importlib.import_module("mamba_ssm").Mamba(16, d_state=4, layer_idx=0)
        nn.init.zeros_(block.dt_proj.bias)  # so that the step is large enough to be seen
        yield block


def x() -> Tensor:
    return 5 * torch.randn(2, 9, 16, generator=torch.Generator().manual_seed(1))


class Adapter(nn.Module):
    """As in peft: `weight` is that of the layer below, and the output has an addition."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base
        self.delta = nn.Parameter(0.1 * torch.randn_like(base.weight))

    @property
    def weight(self) -> Tensor:
        return self.base.weight

    @property
    def bias(self) -> Tensor | None:
        return self.base.bias

    def forward(self, x: Tensor) -> Tensor:
        weight = self.base.weight + self.delta
        if isinstance(self.base, nn.Linear):
            return nn.functional.linear(x, weight, self.base.bias)
        return self.base._conv_forward(x, weight, self.base.bias)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("fast", [True, False])
def test_an_adapter_equals_its_merged_weight(block: Any, name: str, fast: bool) -> None:
    block.use_fast_path = fast
    layer = getattr(block, name)
    plain = block(x())
    adapter = Adapter(layer)
    setattr(block, name, adapter)
    adapted = block(x())
    adapted.square().sum().backward()
    assert adapter.delta.grad is not None
    assert adapter.delta.grad.abs().sum() > 0
    setattr(block, name, layer)
    with torch.no_grad():
        layer.weight.add_(adapter.delta)
        merged = block(x())
    torch.testing.assert_close(adapted, merged, **CLOSE)
    assert (adapted - plain).abs().max() > 1e-4


@torch.no_grad()
@pytest.mark.parametrize("name", LAYERS)
def test_tokens_one_by_one_equal_the_whole(block: Any, name: str) -> None:
    setattr(block, name, Adapter(getattr(block, name)))
    whole = block(x())
    inference = SimpleNamespace(key_value_memory_dict={}, seqlen_offset=0)
    parts = [block(x()[:, :3], inference_params=inference)]
    for t in range(3, 9):
        inference.seqlen_offset = t
        parts.append(block(x()[:, t : t + 1], inference_params=inference))
    torch.testing.assert_close(torch.cat(parts, 1), whole, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("name", LAYERS)
def test_hooks_run(block: Any, name: str) -> None:
    calls: list[str] = []
    getattr(block, name).register_forward_hook(lambda *_: calls.append(name))
    block(x())
    assert calls == [name]


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
