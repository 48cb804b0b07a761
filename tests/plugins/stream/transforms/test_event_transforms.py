"""Transforms of events: sorted, on the sensor, reproducible, defined on empty recordings."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import BaseTransform, Compose

from evenfall_stream.transforms import (
    AddNoiseEvents,
    CenterEvents,
    DropEventChunk,
    DropEvents,
    EventSlice,
    RandomEventFlip,
    RandomEventRotate,
    RandomEventScale,
    RandomEventShift,
    SpatialJitter,
    TimeJitter,
    TimeSkew,
    TimeWindow,
)

SENSOR = (34, 20)
SPATIAL = [
    SpatialJitter(3.0, SENSOR),
    SpatialJitter(3.0, SENSOR, outside="roll"),
    RandomEventRotate(180, SENSOR),
    RandomEventRotate(180, SENSOR, outside="roll"),
    RandomEventShift(12, SENSOR),
    RandomEventShift(12, SENSOR, outside="roll"),
    RandomEventShift(sensor_size=SENSOR, share=0.3),
    CenterEvents(SENSOR),
    RandomEventScale(0.5, 2.0, SENSOR),
    RandomEventScale(0.5, 2.0, SENSOR, outside="roll"),
    RandomEventFlip(SENSOR),
    RandomEventFlip(SENSOR, axis=1),
]
TRANSFORMS = [
    *SPATIAL,
    DropEvents(0.5),
    DropEvents((0.0, 1.0)),
    DropEventChunk(0.9, 1.0),
    TimeSkew(0.5, 2.0),
    TimeJitter(20.0),
    AddNoiseEvents(7, SENSOR),
    EventSlice(5),
    EventSlice(5, random=False),
    TimeWindow(50.0),
    TimeWindow(50.0, random=False),
]


def recording(count: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Data:
    """Events of 0 to 200 ms; `index` numbers them."""
    g = torch.Generator().manual_seed(seed)
    time = (torch.rand(count, generator=g) * 200).sort().values
    place = [torch.randint(extent, (count,), generator=g) for extent in SENSOR]
    return Data(
        x=torch.randint(2, (count, 1), generator=g).to(dtype),
        pos=torch.stack([time - time[:1], *place], 1).to(dtype),
        y=torch.tensor([4]),
    )


def numbered(count: int, seed: int = 0) -> Data:
    data = recording(count, seed)
    data.number = torch.arange(count)
    return data


def on_sensor(pos: Tensor) -> bool:
    place = pos[:, 1:]
    return bool(((place >= 0) & (place < torch.tensor(SENSOR)) & (place == place.round())).all())


@pytest.mark.parametrize("transform", TRANSFORMS, ids=repr)
@settings(deadline=None, max_examples=30)
@given(count=st.integers(0, 60), seed=st.integers(0, 10**6), double=st.booleans())
def test_what_every_transform_keeps(
    transform: BaseTransform, count: int, seed: int, double: bool
) -> None:
    dtype = torch.float64 if double else torch.float32
    data = recording(count, seed, dtype)
    before = {name: value.clone() for name, value in data.to_dict().items()}
    torch.manual_seed(seed)
    out = transform(data)
    assert out.pos.shape == (len(out.x), 3)
    assert out.x.shape[1:] == (1,)
    assert out.pos.dtype == out.x.dtype == dtype
    assert bool((out.pos[:, 0].diff() >= 0).all())
    assert bool((out.pos[:, 0] >= 0).all())
    assert on_sensor(out.pos)
    assert set(out.x.unique().tolist()) <= {0.0, 1.0}
    assert out.y.tolist() == [4]
    if not count:
        assert not len(out.pos)
    assert all(torch.equal(data[name], value) for name, value in before.items())
    torch.manual_seed(seed)
    again = transform(data)
    assert torch.equal(again.pos, out.pos)
    assert torch.equal(again.x, out.x)


@pytest.mark.parametrize(
    "transform", [t for t in TRANSFORMS if not isinstance(t, AddNoiseEvents)], ids=repr
)
def test_other_attributes_follow_their_events(transform: BaseTransform) -> None:
    data = numbered(50)
    out = transform(data)
    assert len(out.number) == len(out.pos)
    assert len(out.number.unique()) == len(out.number)
    assert torch.equal(out.x, data.x[out.number])
    if transform not in SPATIAL:
        assert torch.equal(out.pos[:, 1:], data.pos[out.number, 1:])


@pytest.mark.parametrize(
    "transform", [t for t in TRANSFORMS if not isinstance(t, AddNoiseEvents)], ids=repr
)
def test_edges_and_labels_of_events_follow_too(transform: BaseTransform) -> None:
    data = numbered(50)
    data.y = 3 * data.number
    data.edge_index = torch.stack([data.number, data.number.roll(1)])
    data.edge_attr = data.edge_index.sum(0)
    torch.manual_seed(2)
    out = transform(data)
    assert torch.equal(out.y, 3 * out.number)
    ends = out.number[out.edge_index]
    assert torch.equal(ends.sum(0), out.edge_attr)
    numbers = set(out.number.tolist())
    edges = {tuple(edge) for edge in data.edge_index.t().tolist() if set(edge) <= numbers}
    assert {tuple(edge) for edge in ends.t().tolist()} == edges
    assert out.validate()


def test_noise_has_no_other_attributes() -> None:
    noise = AddNoiseEvents(3, SENSOR)
    with pytest.raises(
        ValueError, match=r"AddNoiseEvents has no values of \['number'\] for noise events"
    ):
        noise(numbered(9))
    labelled = recording(9)
    labelled.y = torch.arange(9)
    with pytest.raises(ValueError, match=r"has no values of \['y'\]"):
        noise(labelled)
    assert noise(recording(1)).y.tolist() == [4]


def test_a_class_does_not_follow_a_single_event() -> None:
    out = DropEvents(1.0)(recording(1))
    assert out.pos.shape == (0, 3)
    assert out.y.tolist() == [4]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=repr)
@pytest.mark.parametrize("column", [0, 1])
def test_positions_must_be_finite_and_floating(transform: BaseTransform, column: int) -> None:
    data = recording(5)
    data.pos[3, column] = float("nan")
    with pytest.raises(ValueError, match=r"needs finite positions, got \[.*nan.*\] at point 3"):
        transform(data)
    whole = recording(5)
    whole.pos = whole.pos.long()
    with pytest.raises(TypeError, match=r"needs a floating point data.pos, got torch.int64"):
        transform(whole)


def test_rotation_and_scale_by_hand() -> None:
    data = Data(x=torch.ones(2, 1), pos=torch.tensor([[0.0, 0, 0], [1, 4, 2]]))
    torch.manual_seed(0)
    angle = (2 * float(torch.rand((), dtype=torch.float64)) - 1) * torch.pi
    torch.manual_seed(0)
    turned = RandomEventRotate(180, (5, 5), outside="roll")(data).pos[:, 1:]
    cos, sin = torch.tensor(angle).cos(), torch.tensor(angle).sin()
    expected = [[2 - 2 * cos + 2 * sin, 2 - 2 * sin - 2 * cos], [2 + 2 * cos, 2 + 2 * sin]]
    assert torch.equal(turned, torch.tensor(expected).round().remainder(5))
    scaled = RandomEventScale(0.5, 0.5, (5, 5))(data).pos[:, 1:]
    assert scaled.tolist() == [[1, 1], [3, 2]]
    assert RandomEventScale(2, 2, (5, 5))(data).pos.tolist() == []


def test_jitter_by_hand() -> None:
    data = Data(x=torch.ones(3, 1), pos=torch.tensor([[0.0, 3], [1, 3], [9, 3]]))
    torch.manual_seed(1)
    noise = torch.randn(3)
    torch.manual_seed(1)
    times = (data.pos[:, 0] + 4 * noise).clamp(min=0).sort().values
    assert torch.equal(TimeJitter(4.0)(data).pos[:, 0], times)
    torch.manual_seed(1)
    place = (3 + 4 * noise).round()
    torch.manual_seed(1)
    jittered = SpatialJitter(4.0, (7,))(data).pos[:, 1]
    assert torch.equal(jittered, place[(place >= 0) & (place < 7)])


def test_drop_events_drops_its_share() -> None:
    torch.manual_seed(0)
    count = sum(len(DropEvents(0.3)(recording(1000)).pos) for _ in range(20))
    assert count == pytest.approx(14_000, rel=0.03)
    assert len(DropEvents(0.0)(recording(50)).pos) == 50


def test_drop_event_chunk_drops_one_run() -> None:
    torch.manual_seed(0)
    for _ in range(50):
        numbers = DropEventChunk(1.0, 0.5)(numbered(40)).number
        assert 20 <= len(numbers) <= 40
        assert int((numbers.diff() > 1).sum()) <= 1
    assert len(DropEventChunk(0.0, 1.0)(recording(40)).pos) == 40


def test_rolled_events_are_all_kept_and_dropped_ones_are_those_outside() -> None:
    data = numbered(60)
    torch.manual_seed(3)
    rolled = RandomEventShift(12, SENSOR, outside="roll")(data)
    torch.manual_seed(3)
    dropped = RandomEventShift(12, SENSOR)(data)
    shift = (rolled.pos - data.pos)[dropped.number]
    assert len(rolled.pos) == 60 > len(dropped.pos) > 0
    assert torch.equal(rolled.pos[dropped.number], dropped.pos)
    assert len(shift.unique(dim=0)) == 1
    assert bool(shift.any())


def test_flip_and_half_turn_are_their_own_inverse() -> None:
    data = recording(40)
    flip = RandomEventFlip(SENSOR, p=1.0)
    assert torch.equal(flip(flip(data)).pos, data.pos)
    assert torch.equal(flip(data).pos[:, 1], 33 - data.pos[:, 1])
    assert torch.equal(RandomEventFlip(SENSOR, p=0.0)(data).pos, data.pos)


@pytest.mark.parametrize(
    "transform",
    [
        RandomEventRotate(0, SENSOR),
        RandomEventScale(1, 1, SENSOR),
        SpatialJitter(0, SENSOR),
        RandomEventShift(0, SENSOR),
        TimeSkew(1, 1),
        TimeJitter(0),
        AddNoiseEvents(0, SENSOR),
    ],
    ids=repr,
)
def test_nothing_to_do_changes_nothing(transform: BaseTransform) -> None:
    data = recording(50)
    assert torch.equal(transform(data).pos, data.pos)


def test_rotation_keeps_distances_from_the_middle() -> None:
    torch.manual_seed(0)
    data = numbered(60)
    out = RandomEventRotate(180, SENSOR)(data)
    middle = (torch.tensor(SENSOR) - 1) / 2
    before = (data.pos[out.number, 1:] - middle).norm(dim=1)
    after = (out.pos[:, 1:] - middle).norm(dim=1)
    assert len(out.pos) > 10
    assert float((before - after).abs().max()) <= 0.75


def test_time_skew_scales_time_alone() -> None:
    data = recording(50)
    out = TimeSkew(2.0, 2.0)(data)
    assert torch.equal(out.pos, data.pos * torch.tensor([2.0, 1.0, 1.0]))


def test_noise_is_added_within_the_recording() -> None:
    data = recording(50)
    out = AddNoiseEvents(500, SENSOR)(data)
    assert len(out.pos) == 550
    assert out.pos[0, 0] == 0
    assert out.pos[-1, 0] == data.pos[-1, 0]
    assert len(out.pos[:, 1].unique()) == 34
    assert len(out.pos[:, 2].unique()) == 20


def test_slices_and_windows_are_neighbours_that_start_at_zero() -> None:
    data = numbered(60)
    starts = set()
    for seed in range(20):
        torch.manual_seed(seed)
        out = EventSlice(10)(data)
        assert out.number.diff().tolist() == [1] * 9
        assert out.pos[0, 0] == 0
        assert torch.allclose(out.pos[:, 0].diff(), data.pos[out.number, 0].diff(), atol=1e-4)
        starts.add(int(out.number[0]))
        window = TimeWindow(80.0)(data)
        assert set(window.number.diff().tolist()) <= {1}
        assert len(window.number)
        assert window.pos[0, 0] == 0
        assert window.pos[-1, 0] <= 80.001
    assert len(starts) > 5
    assert EventSlice(10, random=False)(data).number.tolist() == list(range(10))
    assert EventSlice(100)(data).number.tolist() == list(range(60))
    assert TimeWindow(1e6)(data).number.tolist() == list(range(60))


def test_channels_of_audio() -> None:
    data = Data(x=torch.ones(4, 1), pos=torch.tensor([[0.0, 0], [1, 699], [2, 3], [3, 4]]))
    chain = Compose(
        [
            SpatialJitter(20, (700,), "roll"),
            RandomEventFlip((700,), p=1.0),
            RandomEventScale(0.9, 1.1, (700,), "roll"),
            AddNoiseEvents(3, (700,), polarities=1),
        ]
    )
    out = chain(data)
    assert out.pos.shape == (7, 2)
    assert not out.x[out.x != 1].any()
    assert bool(((out.pos[:, 1] >= 0) & (out.pos[:, 1] < 700)).all())


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (DropEvents, (1.5,), "p must be between 0 and 1, got 1.5"),
        (DropEvents, ((0.5, 0.1),), "p must be a probability or a range"),
        (DropEventChunk, (0.5, -1), "most must be between 0 and 1, got -1"),
        (SpatialJitter, (-1, SENSOR), "std must not be negative"),
        (DropEvents, ((0.5,),), "p must be a probability or a range"),
        (SpatialJitter, (1, ()), "sensor_size must have positive"),
        (SpatialJitter, (1, (34.5, 34)), "sensor_size must have positive integers of pixels, got"),
        (SpatialJitter, (1, 34), "sensor_size must have positive integers of pixels, got 34"),
        (SpatialJitter, (1, SENSOR, "clip"), "outside must be one of drop, roll, got 'clip'"),
        (RandomEventFlip, (SENSOR, 2), "axis must be between 0 and 1, got 2"),
        (RandomEventRotate, (10, (700,)), "sensor_size must have 2 positive"),
        (RandomEventRotate, (-10, SENSOR), "degrees must not be negative"),
        (RandomEventShift, (-1, SENSOR), "pixels must be an integer of at least 0"),
        (RandomEventScale, (0, 1, SENSOR), "0 < low <= high"),
        (TimeSkew, (2, 1), "0 < low <= high"),
        (TimeJitter, (float("nan"),), "std must not be negative, got nan"),
        (RandomEventShift, (2.5, SENSOR), "pixels must be an integer of at least 0, got 2.5"),
        (AddNoiseEvents, (-1, SENSOR), "count must be an integer of at least 0"),
        (AddNoiseEvents, (0.9, SENSOR), "count must be an integer of at least 0, got 0.9"),
        (AddNoiseEvents, (1, SENSOR, 0), "polarities must be an integer of at least 1"),
        (EventSlice, (0,), "count must be an integer of at least 1"),
        (EventSlice, (9.5,), "count must be an integer of at least 1, got 9.5"),
        (TimeWindow, (0,), "length must be positive"),
    ],
)
def test_bad_arguments(kind: Any, arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(*arguments)


def test_bad_data() -> None:
    with pytest.raises(ValueError, match=r"SpatialJitter needs data.pos with time and 1 sensor"):
        SpatialJitter(1.0, (700,))(recording(3))
    with pytest.raises(ValueError, match=r"DropEvents needs data.pos"):
        DropEvents()(Data(x=torch.ones(3, 1)))
    with pytest.raises(TypeError, match="before batching"):
        DropEvents()(Batch.from_data_list([recording(3)]))
    with pytest.raises(ValueError, match=r"data.x of shape \(events, 1\), got None"):
        AddNoiseEvents(1, SENSOR)(Data(pos=recording(3).pos))


def test_a_shift_by_a_share_follows_the_sensor() -> None:
    data = recording(60)
    shifts = []
    for seed in range(40):
        torch.manual_seed(seed)
        rolled = RandomEventShift(sensor_size=SENSOR, share=0.1, outside="roll")(data.clone())
        extent = torch.tensor(SENSOR)
        shift = (rolled.pos - data.pos)[0, 1:]
        shifts.append((shift + extent // 2) % extent - extent // 2)
    assert torch.stack(shifts).abs().amax(0).tolist() == [3, 2]
    for options in ({}, {"pixels": 1, "share": 0.1}):
        with pytest.raises(ValueError, match="pass either pixels or share"):
            RandomEventShift(sensor_size=SENSOR, **options)
    with pytest.raises(ValueError, match="share must be between 0 and 1"):
        RandomEventShift(sensor_size=SENSOR, share=2)


def test_events_are_moved_to_the_centre() -> None:
    time = torch.arange(4.0)
    pos = torch.stack([time, torch.tensor([0.0, 1, 2, 3]), torch.tensor([19.0, 19, 17, 17])], 1)
    centred = CenterEvents(SENSOR)(Data(x=torch.zeros(4, 1), pos=pos))
    assert centred.pos.tolist() == [[0, 15, 11], [1, 16, 11], [2, 17, 9], [3, 18, 9]]
    assert torch.equal(CenterEvents(SENSOR)(centred.clone()).pos, centred.pos)
    empty = Data(x=torch.zeros(0, 1), pos=torch.zeros(0, 3))
    assert CenterEvents(SENSOR)(empty).pos.shape == (0, 3)
