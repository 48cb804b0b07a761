"""Quantisation by other libraries: it works, or an error says that it would do nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.ao.nn.quantized import dynamic
from transformers import AutoModelForCausalLM, QuantoConfig

Make = Callable[..., Any]


class Int8(Tensor):
    """A weight as torchao has it: int8 inside; a linear layer is its only operation."""

    numbers: Tensor
    scale: Tensor

    @staticmethod
    def __new__(cls, weight: Tensor) -> Int8:
        return Tensor._make_wrapper_subclass(cls, weight.shape, dtype=weight.dtype)

    def __init__(self, weight: Tensor) -> None:
        self.scale = weight.abs().amax(1, keepdim=True) / 127
        self.numbers = (weight / self.scale).round().to(torch.int8)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not nn.functional.linear:
            return super().__torch_function__(func, types, args, kwargs)
        dense = [a.numbers * a.scale if isinstance(a, Int8) else a for a in args]
        return func(*dense, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.detach.default:
            return args[0]
        raise NotImplementedError(f"Int8 has no {func}")


def text(model: Any, ids: Tensor) -> list[list[int]]:
    return model.generate(ids[:1], max_new_tokens=8, do_sample=False).tolist()


@pytest.mark.parametrize("before", [False, True])
def test_generate_with_a_decoder_that_torchao_quantised(
    make_egru: Make, ids: Tensor, before: bool
) -> None:
    model, want = make_egru(), make_egru(tie_word_embeddings=False)
    if before:
        text(model, ids)
    weight = Int8(model.lm_head.weight.detach())
    model.lm_head.weight = nn.Parameter(weight, requires_grad=False)
    with torch.no_grad():
        want.load_state_dict(
            {**model.state_dict(), "lm_head.weight": weight.numbers * weight.scale}
        )
    assert text(model, ids) == text(want, ids)


def test_generate_after_torchao_itself(make_egru: Make, ids: Tensor) -> None:
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    model = make_egru(tie_word_embeddings=False)
    want = copy.deepcopy(model)
    quantize_(model, Int8WeightOnlyConfig())
    assert type(model.lm_head.weight) not in (Tensor, nn.Parameter)
    with torch.no_grad():
        want.lm_head.weight.copy_(model.lm_head.weight.dequantize())
    assert text(model, ids) == text(want, ids)


@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("name", ["projection", "lm_head"])
def test_generate_with_a_linear_layer_that_torch_quantised(
    make_egru: Make, ids: Tensor, name: str
) -> None:
    model = make_egru(hidden_sizes=[20, 16] if name == "projection" else [20, 12])
    if name == "projection":
        quantised = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, torch.qint8)
    else:
        quantised, plain = make_egru(), nn.Linear(12, 41)
        plain.load_state_dict(model.lm_head.state_dict())
        plain.qconfig = torch.ao.quantization.default_dynamic_qconfig
        quantised.lm_head = dynamic.Linear.from_float(plain)
    assert isinstance(getattr(quantised, name), dynamic.Linear)
    assert len(text(quantised, ids)[0]) == 25
    with torch.no_grad():
        difference = (quantised(ids).logits - model(ids).logits).abs().max()
    assert 0 < difference < 0.1


def test_a_method_that_knows_no_egru_layers_is_refused(make_egru: Make, tmp_path: Path) -> None:
    make_egru().save_pretrained(tmp_path)
    for method in (QuantoConfig("int8"), {"quant_method": "torchao", "quant_type": "int8"}):
        with pytest.raises(ValueError, match=r"leaves all matrices of EGRU .*EgruQuantization"):
            AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=method)
