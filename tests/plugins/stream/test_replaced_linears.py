"""Layers whose linear layers are quantised, adapted or sized by the first call."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.nn import Sequential

from evenfall_stream import (
    EventStreamClassifier,
    OnlineClassifier,
    StreamBlock,
    StreamClassifier,
    StreamConv,
    StreamSegmenter,
)

POS = torch.rand(40, 3, generator=torch.Generator().manual_seed(0))
TIME = torch.arange(40.0)[:, None]
EVENTS = torch.ones(40, 1), torch.cat([TIME, (POS[:, :2] * 8).floor()], 1)
SMALL: dict[str, Any] = {"width": 48, "depth": 1, "groups": 8, "neighbors": 4}
MODELS: list[Any] = [
    (lambda: StreamConv(3, 48), (POS, POS)),
    (lambda: StreamClassifier(3, **SMALL), (POS,)),
    (lambda: StreamSegmenter(3, **SMALL), (POS,)),
    (lambda: EventStreamClassifier(3, (8, 8), widths=(24, 48), strides=(2, 2)), EVENTS),
]
NAMES = ["conv", "classifier", "segmenter", "events"]


def build(make: Any) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = make().eval()
    return model


def quantised(model: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch advises torchao
        result: nn.Module = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, torch.qint8)
    return result


def close(result: Tensor, expected: Tensor) -> bool:
    return bool((result - expected).norm() < 0.05 * expected.norm())


@pytest.mark.parametrize(("make", "inputs"), MODELS, ids=NAMES)
@torch.no_grad()
def test_dynamic_quantisation_replaces_every_linear_layer(make: Any, inputs: Any) -> None:
    model = build(make)
    small = quantised(model)
    assert not [name for name, one in small.named_modules() if type(one) is nn.Linear]
    result, expected = small(*inputs), model(*inputs)
    assert close(result, expected)
    assert not torch.equal(result, expected)


@torch.no_grad()
def test_a_quantised_model_classifies_online() -> None:
    model = quantised(build(MODELS[3][0])).eval()
    assert isinstance(model, EventStreamClassifier)
    stream = OnlineClassifier(model)
    stream.push(*EVENTS)
    assert close(stream.logits(), model(*EVENTS))


@pytest.mark.parametrize(("make", "inputs"), MODELS, ids=NAMES)
@torch.no_grad()
def test_torchao_quantises_weights(make: Any, inputs: Any) -> None:
    import torchao.quantization as torchao

    model = build(make)
    small = copy.deepcopy(model)
    torchao.quantize_(small, torchao.Int8WeightOnlyConfig())
    result, expected = small(*inputs), model(*inputs)
    assert close(result, expected)
    assert not torch.equal(result, expected)


def test_an_adapter_on_delta_changes_the_result() -> None:
    peft = pytest.importorskip("peft")
    model = build(MODELS[0][0])
    expected = model(POS, POS)
    adapted = peft.inject_adapter_in_model(
        peft.LoraConfig(target_modules=["dt_proj"], init_lora_weights=False), copy.deepcopy(model)
    )
    assert not torch.equal(adapted(POS, POS), expected)


def test_the_first_call_sizes_a_layer_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = Sequential(
            "x, pos", [(StreamConv(-1, 8), "x, pos -> x"), (StreamConv(-1, 4), "x, pos -> x")]
        )
    out = model(POS, POS)
    assert out.shape == (40, 4)
    assert type(model[0].in_proj) is nn.Linear
    torch.manual_seed(5)
    first = StreamConv(3, 8)
    torch.manual_seed(5)
    host = nn.Linear(3, 32, bias=False)
    assert torch.equal(first.in_proj.weight, host.weight)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: StreamConv(0, 4), "in_channels must be positive, or -1 to infer it .* got 0"),
        (lambda: StreamConv(-2, 4), "in_channels must be positive, or -1 to infer it .* got -2"),
        (lambda: StreamConv(4, -1), "out_channels must be positive, got -1"),
        (lambda: StreamBlock(-1), "channels must be positive, got -1; only StreamConv"),
        (lambda: StreamClassifier(3, in_channels=-1), "in_channels must be at least 0, got -1"),
        (lambda: StreamSegmenter(3, in_channels=-1), "in_channels must be at least 0, got -1"),
    ],
)
def test_sizes_that_cannot_be_inferred_are_refused(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
