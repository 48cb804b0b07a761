"""StreamSegmenter: logits for each point, interpolated from tokens."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from evenfall_stream import StreamSegmenter
from evenfall_stream.graphs import read_graphs
from evenfall_stream.models.grouping import Tokens
from evenfall_stream.models.segmentation import interpolate

SMALL: dict[str, Any] = {"width": 12, "depth": 2, "groups": 6, "neighbors": 4, "head": (8,)}
KINDS: list[dict[str, Any]] = [
    {},
    {"layout": "sequence"},
    {"groups": None},
    {"groups": None, "layout": "sequence", "architecture": "pointmamba"},
]


def make(**options: Any) -> StreamSegmenter:
    torch.manual_seed(0)
    return StreamSegmenter(3, **{**SMALL, **options})


def clouds() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(30, 3), torch.tensor([0] * 17 + [2] * 2 + [3] * 11)


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_trains_and_follows_the_points(options: dict[str, Any]) -> None:
    model = make(**options)
    pos, batch = clouds()
    torch.nn.functional.cross_entropy(model(pos, batch), batch.clamp(max=2)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    model.eval()
    expected = model(pos, batch)
    assert expected.shape == (30, 3)
    assert expected.std(0).gt(0).all()
    order = torch.randperm(30)
    order = order[batch[order].argsort(stable=True)]
    torch.testing.assert_close(model(pos[order], batch), expected[order], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model(pos[:17]), expected[:17], rtol=1e-4, atol=1e-5)


def test_learns_which_points_lie_above() -> None:
    model = make(dropout=0.0)
    pos, batch = clouds()
    classes = pos[:, 2].gt(0).long()
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    for _ in range(40):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(pos, batch), classes).backward()
        optimizer.step()
    assert model.eval()(pos, batch).argmax(1).eq(classes).float().mean() > 0.9


def test_interpolation_weighs_by_inverse_squared_distance() -> None:
    x = torch.tensor([[1.0], [4.0], [7.0], [100.0], [9.0]])
    pos = torch.tensor([[0.0], [2.0], [3.0], [50.0], [0.0]])
    tokens = Tokens(x, pos, read_graphs(pos, torch.tensor([0, 0, 0, 0, 1])))
    points = torch.tensor([[1.0], [2.0], [5.0]])
    result = interpolate(tokens, points, read_graphs(points, torch.tensor([0, 0, 1])))[:, 0]
    torch.testing.assert_close(result, torch.tensor([(1 + 4 + 7 / 4) / 2.25, 4.0, 9.0]))


@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(options: dict[str, Any], dtype: torch.dtype) -> None:
    model = make(**options).eval()
    pos, batch = clouds()
    pos = pos.to(dtype)
    expected = model(pos.float(), batch)
    half = copy.deepcopy(model).to(dtype)
    for positions in (pos, pos.float()):
        result = half(positions, batch)
        assert result.dtype == dtype
        torch.testing.assert_close(result.float(), expected, rtol=0.05, atol=0.05)


def test_features_and_files(tmp_path: Path) -> None:
    model = make(in_channels=2, class_names=["a", "b", "c"]).eval()
    pos, batch = clouds()
    x = torch.randn(30, 2)
    expected = model(pos, batch, x)
    model.save_pretrained(tmp_path)
    loaded = StreamSegmenter.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(loaded(pos, batch, x), expected)
    assert not torch.allclose(model(pos, batch, x + 1), expected)


def test_bad_input_and_options() -> None:
    pos, batch = clouds()
    with pytest.raises(ValueError, match="BatchNorm needs at least 2 points in training, got 1"):
        make()(pos[:1])
    with pytest.raises(ValueError, match="batch must be sorted"):
        make()(pos, batch.flip(0))
    with pytest.raises(ValueError, match="pos must have at least one point"):
        make()(pos[:0])
    with pytest.raises(ValueError, match=r"architecture must be one of .* got 'pointnet'"):
        make(architecture="pointnet")
    with pytest.raises(ValueError, match="class_names must have num_classes = 3"):
        make(class_names=["a"])
