"""Transforms of point clouds, alone and in torch_geometric's pipelines."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch_geometric.transforms as T
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader
from torch_geometric.transforms import BaseTransform

from evenfall_stream.transforms import (
    CoordinateDifferences,
    FarthestPoints,
    NearestNeighborGraph,
    NormalizeSphere,
    OrderByCoordinate,
    RandomAnisotropicScale,
    RandomShift,
)

SIZES = st.lists(st.integers(1, 20), min_size=1, max_size=4)


def cloud(points: int = 30, seed: int = 0) -> Data:
    """Data whose x tells which point each row is of."""
    pos = torch.randn(points, 3, generator=torch.Generator().manual_seed(seed))
    return Data(pos=pos, x=torch.arange(points)[:, None], y=torch.tensor([2]))


def edges_of(data: Data) -> set[tuple[int, int]]:
    """The edges by what x says of their ends."""
    return {tuple(pair) for pair in data.x.flatten()[data.edge_index].t().tolist()}


@pytest.mark.parametrize("axis", [0, 2, -1])
def test_order_permutes_all_that_belongs_to_points(axis: int) -> None:
    data = NearestNeighborGraph(3)(cloud())
    ordered = OrderByCoordinate(axis)(data)
    assert (ordered.pos[:, axis].diff() >= 0).all()
    assert torch.equal(ordered.pos, data.pos[ordered.x.flatten()])
    assert edges_of(ordered) == edges_of(data)
    assert ordered.y.tolist() == [2]
    assert data.x.flatten().tolist() == list(range(30)), "the given data is untouched"


@settings(deadline=None, max_examples=30)
@given(SIZES, st.integers(0, 10**6))
def test_order_and_steps_of_a_batch_are_those_of_its_graphs(sizes: list[int], seed: int) -> None:
    alone = [cloud(size, seed + i) for i, size in enumerate(sizes)]
    transform = T.Compose([OrderByCoordinate(1), CoordinateDifferences(1)])
    together = transform(Batch.from_data_list(alone))
    separate = Batch.from_data_list([transform(data) for data in alone])
    assert torch.equal(together.pos, separate.pos)
    assert torch.equal(together.step, separate.step)
    assert (together.step[together.ptr[:-1]] == 0).all()


@pytest.mark.parametrize("sizes", [(2,), (2, 1), (3, 0, 0), (1, 2, 0)])
def test_what_belongs_to_graphs_is_not_moved(sizes: tuple[int, ...]) -> None:
    graphs = [
        Data(pos=-torch.arange(size * 1.0)[:, None], x=torch.arange(size), y=torch.tensor([i]))
        for i, size in enumerate(sizes)
    ]
    batch = Batch.from_data_list(graphs)
    ordered = OrderByCoordinate()(batch)
    assert ordered.ptr.tolist() == batch.ptr.tolist()
    assert ordered.y.tolist() == list(range(len(sizes)))
    assert ordered.x.tolist() == [i for size in sizes for i in reversed(range(size))]
    assert ordered.batch.tolist() == batch.batch.tolist()


def test_equal_coordinates_keep_their_order() -> None:
    data = Data(pos=torch.tensor([[1.0], [0.0], [1.0], [0.0]]))
    data.x = torch.arange(4)
    assert OrderByCoordinate()(data).x.tolist() == [1, 3, 0, 2]


def test_steps_sum_to_the_coordinate() -> None:
    data = T.Compose([OrderByCoordinate(0), CoordinateDifferences(0, attr="dt")])(cloud())
    torch.testing.assert_close(data.dt.cumsum(0), data.pos[:, 0] - data.pos[0, 0])


@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_sphere(shift: float) -> None:
    data = cloud()
    data.pos = 7 * data.pos + shift
    pos = NormalizeSphere()(data).pos
    torch.testing.assert_close(pos.mean(0), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(pos.norm(dim=1).max(), torch.tensor(1.0))
    torch.testing.assert_close(pos, NormalizeSphere()(cloud()).pos, rtol=0, atol=1e-4)


@pytest.mark.parametrize("points", [0, 1, 7])
def test_sphere_of_one_place_is_its_centre(points: int) -> None:
    pos = torch.full((points, 3), 0.1).mul(3)
    assert torch.equal(NormalizeSphere()(Data(pos=pos)).pos, torch.zeros(points, 3))


def test_anisotropic_scale_draws_a_factor_for_each_axis() -> None:
    data = cloud()
    factors = torch.stack(
        [(RandomAnisotropicScale()(data).pos / data.pos).median(0).values for _ in range(200)]
    )
    assert factors.min() >= 2 / 3 - 1e-6
    assert factors.max() <= 1.5 + 1e-6
    assert factors.min() < 0.75
    assert factors.max() > 1.4
    assert (factors[:, 0] != factors[:, 1]).all()
    scaled = RandomAnisotropicScale(2.0, 2.0)(data).pos
    assert torch.equal(scaled, 2 * data.pos)


def test_shift_moves_the_cloud_as_a_whole() -> None:
    data = cloud()
    shifts = torch.stack([RandomShift(0.2)(data).pos - data.pos for _ in range(200)])
    torch.testing.assert_close(shifts, shifts[:, :1].expand_as(shifts), rtol=0, atol=1e-6)
    assert shifts.abs().max() <= 0.2 + 1e-6
    assert shifts.max() > 0.15
    assert shifts.min() < -0.15
    assert torch.equal(RandomShift(0)(data).pos, data.pos)


@pytest.mark.parametrize("make", [RandomAnisotropicScale, RandomShift, lambda: FarthestPoints(5)])
def test_random_transforms_follow_the_seed(make: Callable[[], BaseTransform]) -> None:
    torch.manual_seed(3)
    first = make()(cloud()).pos
    second = make()(cloud()).pos
    torch.manual_seed(3)
    assert torch.equal(make()(cloud()).pos, first)
    assert not torch.equal(second, first)


def test_farthest_points_keep_what_belongs_to_them() -> None:
    data = NearestNeighborGraph(4)(cloud())
    out = FarthestPoints(6, random_start=False)(data)
    assert out.num_nodes == 6
    assert out.x[0] == 0
    assert torch.equal(out.pos, data.pos[out.x.flatten()])
    indices = set(out.x.flatten().tolist())
    assert edges_of(out) == {edge for edge in edges_of(data) if set(edge) <= indices}
    gap = torch.cdist(data.pos[:1], data.pos)[0]
    assert out.x[1] == gap.argmax()
    assert FarthestPoints(99)(data).num_nodes == 30


@pytest.mark.parametrize("transform", [FarthestPoints(3), NormalizeSphere()])
def test_what_is_of_one_cloud_refuses_a_batch(transform: BaseTransform) -> None:
    with pytest.raises(TypeError, match="needs Data of one graph, got DataBatch; apply it before"):
        transform(Batch.from_data_list([cloud(), cloud()]))


@pytest.mark.parametrize("loop", [True, False])
def test_graph_has_the_nearest_as_sources(loop: bool) -> None:
    data = NearestNeighborGraph(4, loop=loop)(cloud())
    gap = torch.cdist(data.pos.double(), data.pos.double())
    if not loop:
        gap.fill_diagonal_(torch.inf)
    source, target = data.edge_index
    assert torch.equal(target, torch.arange(30).repeat_interleave(4))
    assert torch.equal(source.view(30, 4), gap.argsort(1)[:, :4])


def test_graph_of_few_or_coincident_points() -> None:
    assert NearestNeighborGraph(6)(cloud(3)).edge_index.shape == (2, 6)
    assert NearestNeighborGraph(6)(cloud(1)).edge_index.shape == (2, 0)
    same = NearestNeighborGraph(2)(Data(pos=torch.zeros(5, 3))).edge_index
    assert same.shape == (2, 10)
    assert (same[0] != same[1]).all()


def test_pipeline_with_pygs_transforms_and_loader() -> None:
    transform = T.Compose(
        [
            NormalizeSphere(),
            T.FixedPoints(20, replace=False),
            T.RandomRotate(15, axis=2),
            RandomAnisotropicScale(),
            RandomShift(),
            OrderByCoordinate(2),
            CoordinateDifferences(2),
            NearestNeighborGraph(3),
        ]
    )
    batch = next(iter(DataLoader([transform(cloud(seed=i)) for i in range(4)], batch_size=4)))
    assert batch.pos.shape == (80, 3)
    assert batch.step.shape == (80,)
    assert batch.edge_index.shape == (2, 240)
    assert torch.equal(batch.batch[batch.edge_index[0]], batch.batch[batch.edge_index[1]])


@pytest.mark.parametrize(
    ("transform", "text"),
    [
        (OrderByCoordinate(1), "OrderByCoordinate(axis=1)"),
        (CoordinateDifferences(2), "CoordinateDifferences(axis=2, attr='step')"),
        (NormalizeSphere(), "NormalizeSphere()"),
        (RandomAnisotropicScale(), "RandomAnisotropicScale(0.6667, 1.5)"),
        (RandomShift(), "RandomShift(0.2)"),
        (FarthestPoints(8), "FarthestPoints(8, random_start=True)"),
        (NearestNeighborGraph(3), "NearestNeighborGraph(k=3, loop=False)"),
    ],
)
def test_each_shows_itself_and_needs_pos(transform: BaseTransform, text: str) -> None:
    assert repr(transform) == text
    with pytest.raises(ValueError, match=r"needs data.pos of shape \(points, coordinates\), got"):
        transform(Data(x=torch.zeros(3, 1)))
    with pytest.raises(TypeError, match=r"needs a floating point data.pos, got torch.int64"):
        transform(Data(pos=torch.arange(12).view(4, 3)))
    lost = cloud()
    lost.pos[4, 1] = float("nan")
    with pytest.raises(ValueError, match=r"needs finite positions, got \[.*nan.*\] at point 4"):
        transform(lost)


def _of(values: list[float]) -> Data:
    return Data(pos=torch.tensor(values, dtype=torch.float)[:, None])


@pytest.mark.parametrize(
    ("attempt", "error", "message"),
    [
        (
            lambda: OrderByCoordinate(3)(cloud()),
            IndexError,
            "axis must be a column of pos, below 3, got 3",
        ),
        (lambda: OrderByCoordinate()(_of([0, torch.nan])), ValueError, r"got \[nan\] at point 1"),
        (
            lambda: CoordinateDifferences()(_of([0, 2, 1])),
            ValueError,
            "sorted by axis 0, got 1.0 after 2.0 at point 2",
        ),
        (lambda: RandomAnisotropicScale(2, 1), ValueError, "got low 2, high 1"),
        (lambda: RandomAnisotropicScale(0, 1), ValueError, "got low 0, high 1"),
        (lambda: RandomShift(-1), ValueError, "most must not be negative, got -1"),
        (lambda: FarthestPoints(0), ValueError, "count must be an integer of at least 1, got 0"),
        (lambda: FarthestPoints(1)(_of([float("inf")])), ValueError, "needs finite positions"),
        (lambda: NearestNeighborGraph(0), ValueError, "k must be an integer of at least 1, got 0"),
    ],
)
def test_refusals(attempt: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        attempt()


def test_float64_stays_float64() -> None:
    data = cloud()
    data.pos = data.pos.double()
    steps = [NormalizeSphere(), RandomAnisotropicScale(), RandomShift(), OrderByCoordinate()]
    result: Data = T.Compose([*steps, CoordinateDifferences()])(data)
    tensors: list[Tensor] = [result.pos, result.step]
    assert all(tensor.dtype == torch.float64 for tensor in tensors)
