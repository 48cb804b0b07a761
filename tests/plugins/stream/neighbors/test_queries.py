"""fps and knn equal brute force on graphs of any sizes, also with a stand-in for pyg-lib."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from evenfall_stream.neighbors import farthest_cpu, nearest, nearest_cpu
from evenfall_stream.neighbors.farthest import choose_batched, farthest_points
from evenfall_stream.neighbors.queries import fps, knn

SIZES = st.lists(st.integers(0, 30), min_size=1, max_size=4)
NAN = float("nan")


def cloud(sizes: list[int], seed: int, grid: bool, dimensions: int = 3) -> tuple[Tensor, Tensor]:
    """Positions and batch; on a grid many distances are equal and many points coincide."""
    generator = torch.Generator().manual_seed(seed)
    shape = (sum(sizes), dimensions)
    x = torch.randint(0, 3, shape, generator=generator).float()
    if not grid:
        x = torch.randn(shape, generator=generator)
    return x, torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))


def brute_knn(x: Tensor, y: Tensor, k: int, batch_x: Tensor, batch_y: Tensor) -> Tensor:
    edges = []
    for i, query in enumerate(y.double()):
        members = (batch_x == batch_y[i]).nonzero().flatten().tolist()
        near = sorted((float((x[j].double() - query).square().sum()), j) for j in members)
        edges += [(i, j) for _, j in near[:k]]
    return torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).t()


def brute_fps(x: Tensor, batch: Tensor, ratio: float, graphs: int) -> Tensor:
    choices: list[int] = []
    for graph in range(graphs):
        members = (batch == graph).nonzero().flatten().tolist()
        picked = members[:1]
        for _ in range(math.ceil(len(members) * ratio) - 1):
            gaps = [min(float((x[j] - x[i]).square().sum()) for i in picked) for j in members]
            picked.append(members[gaps.index(max(gaps))])
        choices += picked
    return torch.tensor(choices, dtype=torch.int64)


@settings(deadline=None, max_examples=60)
@given(SIZES, SIZES, st.integers(1, 12), st.booleans(), st.integers(0, 10**6))
def test_knn_equals_brute_force(
    sizes_x: list[int], sizes_y: list[int], k: int, grid: bool, seed: int
) -> None:
    x, batch_x = cloud(sizes_x, seed, grid)
    y, batch_y = cloud(sizes_y, seed + 1, grid)
    expected = brute_knn(x, y, k, batch_x, batch_y)
    assert torch.equal(knn(x, y, k, batch_x, batch_y), expected)


@pytest.mark.parametrize("way", ["loop", "_by_tree", "_by_all_distances"])
@pytest.mark.parametrize("grid", [True, False])
def test_loop_tree_and_all_distances_agree(
    monkeypatch: pytest.MonkeyPatch, way: str, grid: bool
) -> None:
    x, batch = cloud([70, 70, 70], 3, grid)
    monkeypatch.setattr(nearest, "_TREE_POINTS", 1 if way == "_by_tree" else 10**9)
    if way == "loop":
        for other in ("_by_tree", "_by_all_distances"):
            monkeypatch.setattr(nearest, other, None)
    else:
        monkeypatch.setattr(nearest, "search", None)
        monkeypatch.setattr(nearest, "_LOOP_NEIGHBORS", 0)
    monkeypatch.setattr(nearest, "_BUDGET", {"cpu": 1000, "cuda": 1000})
    expected = brute_knn(x, x, 9, batch, batch)
    assert torch.equal(knn(x, x, 9, batch, batch), expected)


@settings(deadline=None, max_examples=60)
@given(SIZES, st.floats(0.05, 1.0), st.booleans(), st.integers(0, 10**6))
def test_fps_equals_brute_force(sizes: list[int], ratio: float, grid: bool, seed: int) -> None:
    ratio = round(ratio * 16 + 0.5) / 16 if ratio < 0.9 else 1.0  # exact in float32 too
    x, batch = cloud(sizes, seed, grid)
    indices = fps(x, batch, ratio, random_start=False, batch_size=len(sizes))
    assert torch.equal(indices, brute_fps(x, batch, ratio, len(sizes)))


@settings(deadline=None, max_examples=60)
@given(SIZES, st.integers(1, 5), st.booleans(), st.sampled_from([2, 4, 8]), st.data())
def test_the_loop_chooses_as_pytorch_does(
    sizes: list[int], dimensions: int, grid: bool, width: int, data: st.DataObject
) -> None:
    assume(sum(sizes))
    x, _ = cloud(sizes, data.draw(st.integers(0, 10**6)), grid, dimensions)
    x = x.to({2: torch.bfloat16, 4: torch.float32, 8: torch.float64}[width])
    first = torch.tensor([data.draw(st.integers(0, max(size - 1, 0))) for size in sizes])
    counts = torch.tensor([data.draw(st.integers(0, size)) for size in sizes])
    indices = farthest_points(x, torch.tensor(sizes), counts, first)
    wide = x.float() if width == 2 else x
    expected = choose_batched(wide, torch.tensor(sizes), counts, first)
    assert indices.dtype == torch.int64
    assert torch.equal(indices, expected)


def test_queries_shared_out_to_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    x, batch = cloud([30, 30], 9, grid=True)
    alone = knn(x, x[20:], 4, batch, batch[20:])
    same = knn(x, x, 4, batch, batch)

    def run_split(fill: Any, size: int, work: int) -> None:
        assert work == 16 * 30 * size
        for part in ((0, 7), (7, size)):
            fill(*part)

    monkeypatch.setattr(nearest_cpu, "run_split", run_split)
    assert torch.equal(knn(x, x, 4, batch, batch), same)
    assert torch.equal(knn(x, x[20:], 4, batch, batch[20:]), alone)


def test_distances_that_overflow_come_last() -> None:
    x = torch.tensor([[1e200], [0.0], [-1e200], [1.0]], dtype=torch.float64)
    assert knn(x, x[1:2], 4)[1].tolist() == [1, 3, 0, 2]


def test_graphs_shared_out_to_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    x, batch = cloud([20, 0, 30, 25, 1], 8, grid=False)
    alone = fps(x, batch, 0.5, False)
    parts: list[tuple[int, int]] = []

    def run_split(fill: Any, size: int, work: int) -> None:
        parts.extend([(0, 2), (2, size)])
        assert work == 16 * (20 * 10 + 30 * 15 + 25 * 13 + 1)
        for part in parts:
            fill(*part)

    monkeypatch.setattr(farthest_cpu, "run_split", run_split)
    assert torch.equal(fps(x, batch, 0.5, False), alone)
    assert parts == [(0, 2), (2, 5)]


@pytest.mark.parametrize("sizes", [[8, 8], [3, 12, 0, 1]])
def test_fps_count_takes_at_most_so_many(sizes: list[int]) -> None:
    x, batch = cloud(sizes, 0, grid=False)
    indices = fps(x, batch, count=5, batch_size=len(sizes))
    assert batch[indices].bincount(minlength=len(sizes)).tolist() == [min(5, n) for n in sizes]
    assert len(set(indices.tolist())) == len(indices)
    of_each = torch.arange(1, len(sizes) + 1)
    indices = fps(x, batch, count=of_each, batch_size=len(sizes))
    counts = batch[indices].bincount(minlength=len(sizes)).tolist()
    assert counts == [min(i + 1, n) for i, n in enumerate(sizes)]


def test_fps_random_start_follows_the_seed() -> None:
    x, batch = cloud([50] * 4, 1, grid=False)
    torch.manual_seed(5)
    first = fps(x, batch, count=3)
    torch.manual_seed(5)
    assert torch.equal(fps(x, batch, count=3), first)
    starts = {tuple(fps(x, batch, count=1).tolist()) for _ in range(20)}
    assert len(starts) > 1
    assert all((batch[list(start)] == torch.arange(4)).all() for start in starts)


def test_graphs_do_not_see_each_other() -> None:
    x, batch = cloud([20, 30], 2, grid=False)
    both = fps(x, batch, count=6, random_start=False)
    alone = fps(x[20:], count=6, random_start=False)
    assert torch.equal(both[6:], alone + 20)
    edges = knn(x, x, 4, batch, batch)
    assert (batch[edges[0]] == batch[edges[1]]).all()
    assert torch.equal(edges[:, 80:], knn(x[20:], x[20:], 4) + 20)


def test_types_and_shapes_of_positions() -> None:
    x, batch = cloud([40, 40], 4, grid=False)
    line = knn(x[:, 0], x[:, 0], 3, batch, batch)
    assert torch.equal(line, knn(x[:, :1], x[:, :1], 3, batch, batch))
    cube = x.reshape(-1, 3, 1).expand(-1, 3, 2)
    assert torch.equal(fps(cube, batch, 0.25, False), fps(cube.reshape(-1, 6), batch, 0.25, False))
    half = x.half()
    assert torch.equal(fps(half, batch, 0.5, False), fps(half.float(), batch, 0.5, False))
    wide = torch.cat([x] * 4, 1).requires_grad_()
    assert torch.equal(knn(wide, wide, 3, batch, batch), knn(x, x, 3, batch, batch))


def test_points_at_one_place() -> None:
    x = torch.ones(5, 3)
    assert fps(x, ratio=0.5, random_start=False).tolist() == [0, 0, 0]
    assert knn(x, x[:2], 3).tolist() == [[0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2]]


def test_empty_input_gives_empty_results() -> None:
    none, some = torch.empty(0, 3), torch.randn(4, 3)
    no_graphs = torch.empty(0, dtype=torch.int64)
    assert fps(none).shape == (0,)
    assert fps(none, no_graphs, batch_size=3).shape == (0,)
    assert knn(none, some, 2).shape == (2, 0)
    assert knn(some, none, 2).shape == (2, 0)
    apart = knn(some, some, 2, torch.zeros(4).long(), torch.ones(4).long())
    assert apart.shape == (2, 0)
    assert apart.dtype == torch.int64


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"x": torch.tensor([[0.0, NAN]])}, ValueError, r"x must be finite, got .* at point 0"),
        ({"x": torch.ones(2, 3).long()}, TypeError, "x must be a floating point tensor"),
        ({"x": torch.tensor(1.0)}, ValueError, r"x must have shape \(points, coordinates\)"),
        ({"x": torch.ones(2, 0)}, ValueError, r"x must have shape \(points, coordinates\)"),
        ({"batch": torch.tensor([0, 1, 0])}, ValueError, "sorted, got 0 after 1 at point 2"),
        ({"batch": torch.tensor([-1, 0, 0])}, ValueError, "batch must not be negative, got -1"),
        (
            {"batch": torch.zeros(2).long()},
            ValueError,
            r"batch must have shape \(points,\) = \(3,\)",
        ),
        ({"batch": torch.zeros(3)}, TypeError, "batch must be an integer tensor"),
        ({"batch": torch.tensor([0, 1, 2]), "batch_size": 2}, ValueError, "at least 3, .* got 2"),
        ({"ratio": 0.0}, ValueError, r"ratio must be in \(0, 1\], got 0.0"),
        ({"ratio": 1.5}, ValueError, r"ratio must be in \(0, 1\], got 1.5"),
        ({"count": 0}, ValueError, "count must be at least 1, got 0"),
        ({"count": 1.5}, TypeError, "count must be an integer"),
        ({"count": torch.tensor([1, 1])}, ValueError, "one for each of 1 graphs"),
    ],
)
def test_fps_refuses(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fps(**{"x": torch.zeros(3, 3), **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"y": torch.zeros(2, 2)}, r"y must have 3 coordinates as x has, got shape \(2, 2\)"),
        ({"y": torch.full((2, 3), NAN)}, "y must be finite"),
        ({"batch_x": torch.tensor([1, 0, 0])}, "batch_x must be sorted"),
        ({"batch_y": torch.tensor([0, -1, 0])}, "batch_y must not be negative"),
    ],
)
def test_knn_refuses(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        knn(**{"x": torch.zeros(3, 3), "y": torch.zeros(3, 3), "k": 2, **arguments})


def test_pyg_lib_is_used_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in that computes what pyg-lib documents, the results are the same."""
    x, batch = cloud([20, 30], 6, grid=False)
    torch.manual_seed(1)
    sampled, edges = fps(x, batch, 0.25), knn(x, x, 4, batch, batch)
    calls = []

    def pyg_fps(src: Tensor, ptr: Tensor, ratio: float, random_start: bool) -> Tensor:
        calls.append("fps")
        assert not random_start
        graphs = torch.arange(len(ptr) - 1).repeat_interleave(ptr.diff())
        return brute_fps(src, graphs, ratio, len(ptr) - 1)

    def pyg_knn(
        x: Tensor, y: Tensor, ptr_x: Tensor, ptr_y: Tensor, k: int, cosine: bool, workers: int
    ) -> Tensor:
        calls.append("knn")
        graphs = [
            torch.arange(len(ptr) - 1).repeat_interleave(ptr.diff()) for ptr in (ptr_x, ptr_y)
        ]
        return brute_knn(x, y, k, *graphs)

    monkeypatch.setattr("torch_geometric.typing.WITH_FPS", True)
    monkeypatch.setattr("torch_geometric.typing.WITH_KNN", True)
    monkeypatch.setattr(torch.ops.pyg, "fps", pyg_fps, raising=False)
    monkeypatch.setattr(torch.ops.pyg, "knn", pyg_knn, raising=False)
    torch.manual_seed(1)
    assert torch.equal(fps(x, batch, 0.25), sampled)
    assert torch.equal(knn(x, x, 4, batch, batch), edges)
    assert calls == ["fps", "knn"]


def test_pyg_lib_gets_the_wider_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounded to float32, 16,777,217 would be as near to 16,777,216 as that itself."""
    indices: list[torch.dtype] = []

    def pyg_knn(x: Tensor, y: Tensor, *_: Any) -> Tensor:
        indices.extend([x.dtype, y.dtype])
        return brute_knn(x, y, 1, *(torch.zeros(len(rows)) for rows in (x, y)))

    monkeypatch.setattr("torch_geometric.typing.WITH_KNN", True)
    monkeypatch.setattr(torch.ops.pyg, "knn", pyg_knn, raising=False)
    x, y = torch.tensor([[16777216.0], [16777218.0]]), torch.tensor([[16777217.5]]).double()
    assert knn(x, y, 1).tolist() == [[0], [1]]
    assert indices == [torch.float64] * 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("sizes", [[40, 40], [5, 0, 70]])
def test_cuda_equals_cpu(sizes: list[int]) -> None:
    x, batch = cloud(sizes, 7, grid=True)
    on = x.cuda(), batch.cuda()
    assert torch.equal(knn(on[0], on[0], 6, on[1], on[1]).cpu(), knn(x, x, 6, batch, batch))
    assert torch.equal(fps(*on, 0.5, False).cpu(), fps(x, batch, 0.5, False))
