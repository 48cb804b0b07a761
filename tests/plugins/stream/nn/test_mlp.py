"""Mlp and DropPath: the results and state-dict keys equal those of timm's."""

from __future__ import annotations

import pytest
import torch

from evenfall_stream.nn.drop_path import DropPath
from evenfall_stream.nn.mlp import Mlp


@pytest.mark.parametrize("training", [False, True])
def test_the_mlp_equals_timm_s(training: bool) -> None:
    layers = pytest.importorskip("timm.layers")
    own, theirs = [], []
    for values, make in (
        (own, lambda: Mlp(6, 12, 0.3)),
        (theirs, lambda: layers.Mlp(6, 12, drop=0.3)),
    ):
        torch.manual_seed(0)
        model = make().train(training)
        x = torch.randn(5, 6, requires_grad=True)
        y = model(x)
        y.square().sum().backward()
        values += [y, x.grad, *model.state_dict().values(), *(p.grad for p in model.parameters())]
        keys = list(model.state_dict())
        assert keys == ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
    assert all(torch.equal(a, b) for a, b in zip(own, theirs, strict=True))


@pytest.mark.parametrize("p", [0.0, 0.4, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_drop_path_equals_timm_s(p: float, dtype: torch.dtype) -> None:
    layers = pytest.importorskip("timm.layers")
    x = torch.randn(7, 3, 2, dtype=dtype)
    outputs = []
    for model in (DropPath(p), layers.DropPath(p)):
        torch.manual_seed(3)
        outputs.append((model.train()(x), torch.rand(1)))
        assert torch.equal(model.eval()(x), x)
        assert not model.state_dict()
    assert all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))


def test_drop_path_keeps_the_mean_and_drops_whole_rows() -> None:
    torch.manual_seed(0)
    y = DropPath(0.25).train()(torch.ones(4000, 2))
    assert torch.equal(y[:, 0], y[:, 1])
    assert y.unique().tolist() == pytest.approx([0, 4 / 3])
    assert float(y.mean()) == pytest.approx(1, abs=0.05)
    assert repr(DropPath(0.25)) == "DropPath(p=0.25)"
