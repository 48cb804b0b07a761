"""StreamClassifier: three architectures, two layouts, invariances, bad input."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from evenfall_stream import StreamClassifier
from evenfall_stream.graphs import read_graphs
from evenfall_stream.models.grouping import PointTokens

SMALL: dict[str, Any] = {"width": 12, "depth": 2, "groups": 6, "neighbors": 4, "d_state": 4}
KINDS: list[dict[str, Any]] = [
    {},
    {"bidirectional": True, "pooling": "meanmax", "mlp_ratio": 2.0},
    {"layout": "sequence"},
    {"architecture": "pointmamba", "layout": "sequence"},
    {"architecture": "pointmamba"},
    {"architecture": "pointnet"},
    {"groups": None, "pooling": "max", "head": ()},
    {"depth": 0},
    {"position_embedding": False},
]


def make(**options: Any) -> StreamClassifier:
    torch.manual_seed(0)
    return StreamClassifier(3, **{**SMALL, "head": (8,), **options})


def clouds(sizes: tuple[int, ...] = (20, 0, 33, 3)) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    batch = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    return torch.randn(sum(sizes), 3), batch


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_trains_and_ignores_the_order_of_points(options: dict[str, Any]) -> None:
    model = make(**options)
    pos, batch = clouds()
    loss = F.cross_entropy(model(pos, batch), torch.tensor([0, 1, 2, 0]))
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    model.eval()
    expected = model(pos, batch)
    order = torch.randperm(len(pos))
    order = order[batch[order].argsort(stable=True)]
    torch.testing.assert_close(model(pos[order], batch), expected, rtol=1e-4, atol=1e-5)
    assert expected.std(0).gt(0).all()


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_clouds_do_not_see_each_other(options: dict[str, Any]) -> None:
    model = make(**options).eval()
    pos, batch = clouds()
    result = model(pos, batch, batch_size=5)
    assert result.shape == (5, 3)
    for cloud in (0, 2, 3):
        alone = model(pos[batch == cloud])[0]
        torch.testing.assert_close(result[cloud], alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(result[1], result[4])  # both empty


def test_without_position_embedding_only_distances_count() -> None:
    pos, batch = clouds()
    shifted, stretched = pos + 3, pos * torch.tensor([1.0, 1.0, 3.0])
    without, embedded = (make(position_embedding=embedded).eval() for embedded in (False, True))
    torch.testing.assert_close(without(shifted, batch), without(pos, batch), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(embedded(shifted, batch), embedded(pos, batch), atol=1e-3)
    assert not torch.allclose(without(stretched, batch), without(pos, batch), atol=1e-3)


@pytest.mark.parametrize("points", [1, 2, 40])
def test_few_points_and_points_at_one_place(points: int) -> None:
    model = make().eval()
    assert model(torch.ones(points, 3)).isfinite().all()
    assert model(torch.rand(points, 3)).isfinite().all()
    model.train()
    batch = torch.tensor([0, 1]).repeat_interleave(points)
    model(torch.ones(2 * points, 3), batch).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_equal_distances_do_not_bring_the_order_of_points_back() -> None:
    tokens = PointTokens(12, 0, 5, 4, 3).eval()
    axis = torch.arange(3.0)
    pos = torch.cartesian_prod(axis, axis, axis)
    graphs, order = read_graphs(pos), torch.randperm(27)
    result, expected = tokens(pos[order], graphs), tokens(pos, graphs)
    torch.testing.assert_close((result.x, result.pos), (expected.x, expected.pos))
    assert torch.equal(result.graphs.batch, expected.graphs.batch)


def test_features_beside_positions_in_a_data_loader() -> None:
    model = make(in_channels=2).eval()
    graphs = [Data(pos=torch.randn(n, 3), x=torch.randn(n, 2)) for n in (9, 15)]
    (batch,) = DataLoader(graphs, batch_size=2)
    result = model(batch.pos, batch.batch, batch.x)
    torch.testing.assert_close(
        result[1:], model(graphs[1].pos, x=graphs[1].x), rtol=1e-4, atol=1e-5
    )
    assert not torch.allclose(result, model(batch.pos, batch.batch, batch.x + 1))
    with pytest.raises(ValueError, match="x must have 2 features per point, got None"):
        model(batch.pos, batch.batch)


def test_copies_files_and_dtypes(tmp_path: Path) -> None:
    model = make(class_names=["a", "b", "c"], length_scale=(0.2, 3.0)).eval()
    pos, batch = clouds()
    expected = model(pos, batch)
    torch.testing.assert_close(copy.deepcopy(model)(pos, batch), expected)
    model.save_pretrained(tmp_path)
    loaded = StreamClassifier.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(loaded(pos, batch), expected)
    assert loaded.class_names == ["a", "b", "c"]
    wide = copy.deepcopy(model).double()(pos.double(), batch)
    torch.testing.assert_close(wide.float(), expected, rtol=1e-3, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(model(pos, batch).float(), expected, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_positions_may_be_finer_than_the_weights(options: dict[str, Any]) -> None:
    model = make(**options).eval()
    pos, batch = clouds()
    expected = model(pos, batch)
    torch.testing.assert_close(model(pos.double(), batch), expected)
    for dtype in (torch.bfloat16, torch.float16):
        result = copy.deepcopy(model).to(dtype)(pos, batch)
        assert result.dtype == dtype
        torch.testing.assert_close(result.float(), expected, rtol=0.05, atol=0.02)


def test_one_cloud_compiles_in_one_graph_and_exports() -> None:
    model = make(groups=None, depth=1).eval()
    pos, batch = clouds((9, 4))
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(pos), model(pos))
    exported = torch.export.export(model, (pos,)).module()
    torch.testing.assert_close(exported(pos), model(pos))
    several = torch.compile(model, backend="eager")
    torch.testing.assert_close(several(pos, batch), model(pos, batch))


def test_one_cloud_in_training() -> None:
    model = make()
    with pytest.raises(ValueError, match=r"at least 2 clouds in training, got 1; .*drop_last"):
        model(torch.rand(8, 3))
    assert make(head=())(torch.rand(8, 3)).shape == (1, 3)
    with pytest.raises(ValueError, match="BatchNorm needs at least 2 points in training, got 1"):
        make(head=())(torch.rand(1, 3))


POS = torch.rand(4, 3)


@pytest.mark.parametrize(
    ("pos", "batch", "x", "words"),
    [
        (POS[:, :2], None, None, r"pos must have shape \(points, 3\), got \(4, 2\)"),
        (POS[:0], None, None, "pos must have at least one point"),
        (POS / 0, None, None, "pos must be finite"),
        (POS, torch.tensor([1, 0, 0, 0]), None, "batch must be sorted"),
        (POS, torch.tensor([-2, 0, 0, 0]), None, "batch must not be negative, got -2"),
        (POS, None, torch.ones(4, 1), r"x must have shape .* = \(4, 0\), got \(4, 1\)"),
    ],
)
def test_bad_input(pos: Tensor, batch: Any, x: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make().eval()(pos, batch, x)


def test_more_graphs_than_batch_size() -> None:
    with pytest.raises(
        ValueError, match="batch_size must be at least 2, the number of graphs in batch, got"
    ):
        make().eval()(POS, torch.tensor([0, 0, 1, 1]), batch_size=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"architecture": "resnet"}, "architecture must be one of"),
        ({"pooling": "sum"}, "pooling must be one of"),
        ({"layout": "spiral"}, "layout must be one of parallel, sequence, got 'spiral'"),
        ({"layout": "sequence", "bidirectional": True}, r"does not support \['bidirectional'\]"),
        ({"class_names": ["a"]}, "class_names must have num_classes = 3 names, got 1"),
        ({"groups": 0}, "groups and neighbors at least 1, got 12, 0 and 4"),
        ({"depth": -1}, "depth must not be negative, got -1"),
        ({"head": (8, 0)}, r"head\[1\] must be positive, got 0"),
        ({"width": 2}, "width must be at least 3"),
    ],
)
def test_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make(**options)


@pytest.mark.parametrize("architecture", ["stream", "pointnet"])
def test_an_unknown_argument_is_an_error(architecture: str) -> None:
    with pytest.raises(TypeError, match="depht"):
        make(architecture=architecture, depht=2)
