"""StreamConv: equal to the sum over all pairs, invariant as documented, usable in PyG models."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader
from torch_geometric.nn import GCNConv, Sequential, global_mean_pool

from evenfall import use_backend
from evenfall_stream import StreamConv
from evenfall_stream.nn.oracle import all_pairs, influence

BATCH = torch.tensor([0] * 7 + [2] + [3] * 6)  # graph 1 is empty, graph 2 a single point


def make(**options: Any) -> StreamConv:
    torch.manual_seed(0)
    sizes = {"d_state": 3, "expand": 2, "length_scale": (0.3, 1.0)}
    return StreamConv(5, 4, **{**sizes, **options})


def cloud(points: int = len(BATCH), dimensions: int = 3, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(points, 5, generator=generator, dtype=torch.float64)
    # on a lattice, so that many coordinates are equal, but no two points
    places = torch.randperm(4**dimensions, generator=generator)[:points]
    axes = [places // 4**axis % 4 for axis in range(dimensions)]
    return x, torch.stack(axes, 1).double() / 2


OPTIONS: list[dict[str, Any]] = [
    {},
    {"bidirectional": True},
    {"separate_weights": True, "combine": "mean"},
    {"separate_weights": True, "bidirectional": True, "combine": "concat"},
    {"combine": "attention", "axes": (2, 0)},
    {"step": "learned"},
    {"step": "learned", "discretization": "zoh", "bias": True},
    {"step": "uniform", "bidirectional": True},
    {"discretization": "zoh", "d_conv": 0},
    {"discretization": "dirac", "d_conv": 1, "axes": (1,)},
    {"discretization": "async", "dt_rank": 2, "expand": 1},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equals_the_all_pairs_sum(options: dict[str, Any]) -> None:
    conv = make(**options).double()
    x, pos = (t.requires_grad_() for t in cloud())
    with use_backend("reference"):
        result = conv(x, pos, BATCH)
        leaves = [x, pos, *conv.parameters()] if conv.step == "coordinate" else [
            x, *conv.parameters()
        ]  # fmt: skip
        weights = torch.randn_like(result)
        grads = torch.autograd.grad((result * weights).sum(), leaves, materialize_grads=True)
    expected = all_pairs(conv, x, pos, BATCH)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-8)
    expected_grads = torch.autograd.grad((expected * weights).sum(), leaves, materialize_grads=True)
    for grad, other in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(grad, other, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_fast_backend_in_single_precision(options: dict[str, Any]) -> None:
    conv = make(**options)
    x, pos = cloud()
    inputs = x.float().requires_grad_()
    result = conv(inputs, pos.float(), BATCH)
    result.square().sum().backward()
    wide = copy.deepcopy(conv).double()
    leaf = x.requires_grad_()
    expected = all_pairs(wide, leaf, pos, BATCH)
    torch.testing.assert_close(result.double(), expected, rtol=1e-4, atol=1e-4)
    (grad,) = torch.autograd.grad(expected.square().sum(), leaf)
    torch.testing.assert_close(inputs.grad.double(), grad, rtol=1e-4, atol=1e-4)


def test_presorted_events() -> None:
    conv = make(dimensions=1, presorted=True).double()
    time = torch.tensor([0.0, 0, 1, 3, 3, 9, 2, 2, 2.5, 3, 4, 4, 5, 6]).double()[:, None]
    batch = (torch.arange(14) >= 6).long()
    with use_backend("reference"):
        result = conv(cloud()[0], time, batch)
    torch.testing.assert_close(result, all_pairs(conv, cloud()[0], time, batch), rtol=0, atol=1e-8)
    with pytest.raises(ValueError, match=r"decrease along axis 0 .* point 6 is 7 below"):
        conv(cloud()[0], time)


@given(st.integers(0, 2**31), st.integers(1, 40), st.sampled_from([1, 2, 3]), st.booleans())
@settings(max_examples=25, deadline=None)
def test_permutations_and_translations(seed: int, points: int, dims: int, both: bool) -> None:
    conv = make(dimensions=dims, bidirectional=both, separate_weights=both)
    x, pos = cloud(min(points, 4**dims), dims, seed)
    x, pos = x.float(), pos.float()
    batch = (torch.arange(len(x)) > len(x) // 2).long()
    expected = conv(x, pos, batch)
    shuffled = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    shuffled = shuffled[batch[shuffled].argsort(stable=True)]
    result = conv(x[shuffled], pos[shuffled], batch[shuffled])
    torch.testing.assert_close(result, expected[shuffled], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(conv(x, pos + 2, batch), expected, rtol=1e-5, atol=1e-5)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_graphs_do_not_see_each_other(sizes: list[int], seed: int) -> None:
    conv = make()
    clouds = [tuple(t.float() for t in cloud(n, 3, seed + n)) for n in sizes]
    batch = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    result = conv(torch.cat([x for x, _ in clouds]), torch.cat([p for _, p in clouds]), batch)
    expected = torch.cat([conv(x, pos) for x, pos in clouds])
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)


def test_both_directions_make_mirror_images_equal() -> None:
    conv = make(bidirectional=True)
    x, pos = (t.float() for t in cloud())
    torch.testing.assert_close(conv(x, -pos, BATCH), conv(x, pos, BATCH))
    assert not torch.allclose(make()(x, -pos, BATCH), make()(x, pos, BATCH), atol=1e-3)


def test_points_at_one_place() -> None:
    conv = make(d_conv=0)
    x = torch.randn(6, 5)
    out = conv(x, torch.ones(6, 3))
    assert out.isfinite().all()
    torch.testing.assert_close(conv(x, torch.zeros(6, 3)), out)


@pytest.mark.parametrize("batch", [None, torch.zeros(0, dtype=torch.long)])
def test_no_points(batch: Tensor | None) -> None:
    x = torch.randn(0, 5, requires_grad=True)
    conv = make()
    out = conv(x, torch.rand(0, 3), batch)
    out.sum().backward()
    assert out.shape == (0, 4)
    assert x.grad.shape == (0, 5)
    assert float(conv.out_proj.weight.grad.abs().sum()) == 0


def test_width_from_the_first_call_copies_and_state_dict() -> None:
    lazy = StreamConv(-1, 4)
    twin = copy.deepcopy(lazy)
    x, pos = (t.float() for t in cloud())
    expected = lazy(x, pos, BATCH)
    twin.load_state_dict(lazy.state_dict())
    torch.testing.assert_close(twin(x, pos, BATCH), expected)
    torch.testing.assert_close(copy.deepcopy(lazy)(x, pos, BATCH), expected)
    with pytest.raises(ValueError, match=r"\(points, channels\) = \(14, 5\), got \(14, 3\)"):
        lazy(x[:, :3], pos)


def test_reset_parameters_draws_anew_and_repr_names_the_layer() -> None:
    conv = make(combine="attention")
    before = copy.deepcopy(conv.state_dict())
    conv.reset_parameters()
    fixed = {n for n, value in conv.state_dict().items() if torch.equal(value, before[n])}
    assert fixed == {"views.0.A_log", "views.0.D"}
    assert repr(conv).startswith("StreamConv(5, 4, axes=(0, 1, 2), step='coordinate'")
    assert conv.no_weight_decay() == {"views.0.A_log", "views.0.D", "views.0.a_bias"}


def test_autocast_stays_close_and_trains() -> None:
    conv = make()
    x, pos = (t.float() for t in cloud())
    with torch.autocast("cpu", torch.bfloat16):
        result = conv(x, pos, BATCH)
        result.float().sum().backward()
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result.float(), conv(x, pos, BATCH), rtol=0.05, atol=0.05)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in conv.parameters())


@pytest.mark.parametrize("shared", [False, True])
def test_compiles_in_one_graph(shared: bool) -> None:
    conv = make(bidirectional=True)
    x, pos = (t.float() for t in cloud())
    order = conv.serialize(pos, BATCH) if shared else None
    compiled = torch.compile(conv, backend="aot_eager", fullgraph=True)
    result, expected = compiled(x, pos, None, order), conv(x, pos, None, order)
    torch.testing.assert_close(result, expected)
    parameters = list(conv.parameters())
    grads = [torch.autograd.grad(out.square().sum(), parameters) for out in (result, expected)]
    torch.testing.assert_close(*grads)


def test_forward_chunk_carries_the_state() -> None:
    for options in ({}, {"combine": "attention"}, {"step": "learned", "d_conv": 0}):
        conv = make(dimensions=1, presorted=True, **options)
        x, time = cloud()[0].float(), torch.rand(14).cumsum(0)
        step = torch.cat([torch.zeros(1), time.diff()])
        state, parts = None, []
        for rows in (slice(0, 1), slice(1, 6), slice(6, 14)):
            out, state = conv.forward_chunk(x[rows], step[rows], state)
            parts.append(out)
        torch.testing.assert_close(torch.cat(parts), conv(x, time[:, None]), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="a layer with one axis and one direction, got axes"):
        make().forward_chunk(x, step)


def test_in_a_pipeline_of_torch_geometric() -> None:
    model = Sequential(
        "x, pos, edge_index, batch",
        [
            (make(), "x, pos, batch -> x"),
            torch.nn.ReLU(),
            (GCNConv(4, 6), "x, edge_index -> x"),
            (global_mean_pool, "x, batch -> x"),
        ],
    )
    x, pos = (t.float() for t in cloud())
    edges = torch.tensor([[0, 1], [1, 2]])
    graphs = [Data(x=x[:5], pos=pos[:5], edge_index=edges), Data(x=x, pos=pos, edge_index=edges)]
    (batch,) = DataLoader(graphs, batch_size=2)
    out = model(batch.x, batch.pos, batch.edge_index, batch.batch)
    torch.testing.assert_close(out[1:], model(x, pos, edges, torch.zeros(14, dtype=torch.long)))


def test_influence_is_nearest_first_and_stays_in_the_graph() -> None:
    conv = make(d_conv=0, bidirectional=True)
    x = torch.ones(9, 5)
    pos = torch.tensor([0.0, 1, 2, 3, 4, 5, 1, 2, 3])[:, None].expand(9, 3)
    batch = torch.tensor([0] * 6 + [1] * 3)
    strength = influence(conv, x, pos, batch, 2)
    assert strength[2:6].diff().lt(0).all()
    assert strength[:3].diff().gt(0).all()
    assert strength[6:].eq(0).all()
    with pytest.raises(ValueError, match="point must be between 0 and 8, got 9"):
        influence(conv, x, pos, batch, 9)


def test_axes_in_any_order_of_more_columns_and_batches_of_any_integers() -> None:
    x, pos = cloud(dimensions=4)
    conv = make(axes=(3, 1)).double()
    with use_backend("reference"):
        result = conv(x, pos, BATCH)
        for dtype in (torch.int32, torch.int16, torch.uint8):
            assert torch.equal(conv(x, pos, BATCH.to(dtype)), result)
    torch.testing.assert_close(result, all_pairs(conv, x, pos, BATCH), rtol=0, atol=1e-8)


X, POS = torch.ones(4, 5), torch.rand(4, 3)


@pytest.mark.parametrize(
    ("x", "pos", "batch", "words"),
    [
        (X[:, :2], POS, None, r"x must have shape \(points, channels\) = \(4, 5\), got \(4, 2\)"),
        (X[:3], POS, None, r"got \(3, 5\)"),
        (X, POS[:, :2], None, r"pos must have dimensions = 3 columns, got shape \(4, 2\)"),
        (X, POS.repeat(1, 2), None, r"= 3 columns, got shape \(4, 6\); pass axes to use only some"),
        (X, POS.log() / 0, None, "pos must be finite"),
        (X[:3], POS[0], None, r"pos must have shape \(points, dimensions\), got \(3,\)"),
        (X, POS, torch.tensor([0, 1, 0, 1]), "batch must be sorted, got 0 after 1 at point 2"),
        (X, POS, torch.tensor([0, 1, 0, 1]).byte(), "batch must be sorted, got 0 after 1"),
        (X, POS, torch.tensor([-1, 0, 0, 1]), "batch must not be negative, got -1"),
        (X, POS, torch.zeros(3, dtype=torch.long), r"batch must have shape \(points,\) = \(4,\)"),
        (X, POS.to("meta"), None, "x is on cpu, but pos is on meta"),
    ],
)
def test_values(x: Tensor, pos: Tensor, batch: Tensor | None, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()(x, pos, batch)


def test_types_and_a_foreign_serialization() -> None:
    conv = make()
    with pytest.raises(TypeError, match=r"pos must be a floating point tensor, got torch.int64"):
        conv(X, POS.long())
    with pytest.raises(TypeError, match=r"x must be a floating point tensor, got torch.int64"):
        conv(X.long(), POS)
    with pytest.raises(TypeError, match=r"batch must be an integer tensor, got torch.float32"):
        conv(X, POS, torch.zeros(4))
    with pytest.raises(TypeError, match="batch must be an integer tensor, got list"):
        conv(X, POS, [0, 0, 1, 1])
    for none in (None, POS.numpy()):
        with pytest.raises(TypeError, match=f"pos must be .*, got {type(none).__name__}"):
            conv(X, none)
        with pytest.raises(TypeError, match=f"x must be .*, got {type(none).__name__}"):
            conv(none, POS)
    with pytest.raises(
        ValueError, match="must have 3 views of 4 points, got 3 views with 9 places"
    ):
        conv(X, POS, None, conv.serialize(POS[:3]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"combine": "max"}, "combine must be one of"),
        ({"step": "time"}, "step must be one of"),
        ({"discretization": "tustin"}, "discretization must be one of"),
        ({"step": "learned", "discretization": "async"}, "'async' does not support step='learned'"),
        ({"length_scale": (2.0, 1.0)}, r"0 < shortest <= longest, got \(2.0, 1.0\)"),
        ({"length_scale": (1.0,)}, r"got \(1.0,\)"),
        ({"d_conv": -1}, "d_conv must not be negative, got -1"),
        ({"d_state": 0}, "d_state must be positive, got 0"),
        ({"dt_rank": 0}, "dt_rank must be positive, got 0"),
        ({"axes": ()}, r"axes must be columns of pos, 0 or above, got \(\)"),
        ({"axes": (-1,)}, r"got \(-1,\)"),
    ],
)
def test_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make(**options)
