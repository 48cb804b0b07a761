"""EventStreamClassifier: ids, embeddings, stages, heads, independent recordings, bad input."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from evenfall_stream import EventStreamClassifier, OnlineClassifier
from evenfall_stream.nn.event_embedding import EventEmbedding, event_ids

SENSOR = (5, 4)


def make(**options: Any) -> EventStreamClassifier:
    torch.manual_seed(0)
    sizes = {"widths": (8, 12), "strides": (3, 2), "depths": (1, 2), "d_state": 4}
    return EventStreamClassifier(3, SENSOR, **{**sizes, **options})


def events(sizes: tuple[int, ...] = (20, 0, 7, 1)) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    batch = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    times = torch.cat([torch.rand(n).mul(30).cumsum(0) for n in sizes])
    xy = [torch.randint(0, extent, (len(batch),)) for extent in SENSOR]
    return torch.randint(0, 2, (len(batch), 1)).float(), torch.stack([times, *xy], 1), batch


def every_event(sensor: tuple[int, ...], polarities: int) -> tuple[Tensor, Tensor]:
    axes = [torch.arange(float(extent)) for extent in (*sensor, polarities)]
    rows = torch.cartesian_prod(*axes)
    return rows[:, :-1], rows[:, -1]


@pytest.mark.parametrize(("sensor", "polarities"), [(SENSOR, 2), ((7,), 1), ((2, 3, 4), 3)])
def test_ids_are_all_different(sensor: tuple[int, ...], polarities: int) -> None:
    ids = event_ids(*every_event(sensor, polarities), sensor, polarities)
    assert sorted(ids.tolist()) == list(range(len(ids)))
    assert event_ids(torch.tensor([[3.0, 2.0]]), torch.ones(1), SENSOR, 2).item() == 3 + 5 * (2 + 4)


def test_smooth_embeddings_are_a_table_too() -> None:
    coordinates, polarity = every_event(SENSOR, 2)
    smooth, free = EventEmbedding(6, SENSOR, 2, 3), EventEmbedding(6, SENSOR, 2, None)
    cosines = torch.cos(torch.pi * (torch.arange(5)[:, None] + 0.5) / 5 * torch.arange(3))
    ids = event_ids(coordinates, polarity, SENSOR, 2)
    vectors = smooth(coordinates, polarity)
    with torch.no_grad():
        free.table[ids] = vectors
    torch.testing.assert_close(free(coordinates, polarity), vectors)
    falling = cosines / (1 + torch.arange(3) / 2)
    row = vectors[(coordinates[:, 1] == 1) & (polarity == 1)]  # along x: in the span of cosines
    residual = row - falling @ torch.linalg.lstsq(falling, row).solution
    assert residual.abs().max() < 1e-5 * row.abs().max()
    assert 0.3 < EventEmbedding(64, (34, 34), 2, 8)(coordinates, polarity).std() < 3


@pytest.mark.parametrize(("sensor", "polarities"), [(SENSOR, 2), ((7,), 1), ((2, 3, 4), 3)])
def test_vectors_of_few_events_equal_those_of_the_table(
    sensor: tuple[int, ...], polarities: int
) -> None:
    smooth = EventEmbedding(6, sensor, polarities, 3).double()
    ids = torch.tensor([5, 0, 5, smooth.ids - 1])
    weight = torch.randn(4, 6, dtype=torch.float64)
    some, table = smooth.vectors_of(ids), smooth.vectors()[ids]
    torch.testing.assert_close(some, table)
    gradients = [torch.autograd.grad((one * weight).sum(), smooth.mix)[0] for one in (some, table)]
    torch.testing.assert_close(*gradients)


def test_a_megapixel_sensor_computes_at_its_events(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(self: EventEmbedding) -> Tensor:
        raise AssertionError("made a vector for every pixel")

    monkeypatch.setattr(EventEmbedding, "vectors", never)
    model = EventStreamClassifier(3, (1280, 720), frequencies=16, widths=[8], depths=[1],
                                  strides=[2]).eval()  # fmt: skip
    assert sum(one.numel() for one in [*model.parameters(), *model.buffers()]) < 50_000
    pos = torch.tensor([[0.0, 1279, 719], [1.0, 0, 0], [2.0, 640, 3]])
    x = torch.tensor([[1.0], [0.0], [1.0]])
    expected = model(x, pos)
    stream = OnlineClassifier(model)
    stream.push(x, pos)
    torch.testing.assert_close(stream.logits(), expected, rtol=1e-4, atol=1e-5)


def test_millions_of_independent_vectors_are_a_warning() -> None:
    with pytest.warns(UserWarning, match="29,491,200 parameters in independent .*frequencies=16"):
        EventEmbedding(16, (1280, 720), 2, None)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"head": "time", "frequencies": 3},
    {"strides": (1, 1), "mlp_ratio": 1.0},
    {"bidirectional": True, "separate_weights": True},
    {"bidirectional": True, "combine": "concat"},
    {"step": "uniform", "length_scale": (2.0, 50.0)},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_trains_and_recordings_do_not_see_each_other(options: dict[str, Any]) -> None:
    model = make(**options)
    x, pos, batch = events()
    torch.nn.functional.cross_entropy(model(x, pos, batch), torch.tensor([0, 1, 2, 0])).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    model.eval()
    result = model(x, pos, batch, batch_size=5)
    for recording in (0, 2, 3):
        rows = batch == recording
        alone = model(x[rows], pos[rows])[0]
        torch.testing.assert_close(result[recording], alone, rtol=1e-4, atol=1e-5)
    nothing = model(x[:0], pos[:0])
    assert nothing.shape == (1, 3)
    torch.testing.assert_close(result[1::3], nothing.expand(2, -1))


def test_a_later_start_changes_nothing_but_a_slower_clock_does() -> None:
    model = make(discretization="dirac", length_scale=(2.0, 20.0)).eval()
    x, pos, batch = events()
    expected = model(x, pos, batch)
    later, slower = pos.clone(), pos.clone()
    later[:, 0] += 512
    slower[:, 0] *= 8
    torch.testing.assert_close(model(x, later, batch), expected, rtol=0, atol=1e-6)
    assert not torch.allclose(model(x, slower, batch), expected, rtol=0, atol=2e-5)


def test_both_directions_hear_the_end() -> None:
    """The pooling block of a stage follows the layer's own views."""
    x, pos, _ = events((9,))
    changed = x.clone()
    changed[-1] = 1 - changed[-1]
    for both in (False, True):
        model = make(bidirectional=both, strides=(1, 1)).eval()
        stage = model.stages[0]
        tokens = [stage(*model.embed(value, pos, None))[0] for value in (x, changed)]
        assert torch.allclose(tokens[0][:-1], tokens[1][:-1], atol=1e-6) is not both


def test_the_time_head_weighs_tokens_by_their_time() -> None:
    model = make(head="time", strides=(1, 1)).eval()
    x, pos, batch = events((6,))
    tokens, time, graphs = model.embed(x, pos, batch)
    for stage in model.stages:
        tokens, time, graphs = stage(tokens, time, graphs)
    weight = torch.cat([torch.zeros(1), time[:, 0].diff()])[:, None]
    pooled = (model.norm(tokens) * weight).sum(0) / weight.sum()
    torch.testing.assert_close(model(x, pos)[0], model.classify(pooled), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_times_may_be_finer_than_the_weights(options: dict[str, Any], dtype: torch.dtype) -> None:
    model = make(**options).eval()
    x, pos, batch = events()
    expected = model(x, pos, batch)
    model.to(dtype)
    for times in (torch.float32, torch.float64):
        result = model(x, pos.to(times), batch)
        assert result.dtype == dtype
        torch.testing.assert_close(result.float(), expected, rtol=0.05, atol=0.05)


def test_audio_copies_and_files(tmp_path: Path) -> None:
    model = EventStreamClassifier(4, (20,), widths=(8,), depths=(2,), strides=(2,), polarities=1)
    model.eval()
    x = torch.zeros(9, 1)
    pos = torch.stack([torch.arange(9.0), torch.randint(0, 20, (9,)).float()], 1)
    expected = model(x, pos)
    torch.testing.assert_close(copy.deepcopy(model)(x, pos), expected)
    model.save_pretrained(tmp_path)
    torch.testing.assert_close(
        EventStreamClassifier.from_pretrained(tmp_path).eval()(x, pos), expected
    )
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(model(x, pos).float(), expected, rtol=0.1, atol=0.1)


def changed(column: int, value: float) -> Tensor:
    pos = events((4,))[1]
    pos[2, column] = value
    return pos


@pytest.mark.parametrize(
    ("pos", "words"),
    [
        (changed(0, -1.0), "pos must not decrease along axis 0"),
        (changed(0, float("nan")), "pos must be finite"),
        (changed(1, 5.0), r"pos column 1 must be between 0 and 4 .* got 5 at event 2"),
        (changed(2, -1.0), "pos column 2 must be between 0 and 3"),
        (changed(0, 99.0)[:, :2], r"pos must have shape \(events, 3\): time and 2 sensor"),
    ],
)
def test_bad_positions(pos: Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()(events((4,))[0], pos)


def test_no_classes() -> None:
    with pytest.raises(ValueError, match="num_classes must be positive, got 0"):
        EventStreamClassifier(0, SENSOR)


def test_bad_polarity_batch_and_kind() -> None:
    x, pos, _ = events((4,))
    with pytest.raises(ValueError, match=r"x must be between 0 and 1 .* got 2 at event 0"):
        make()(torch.full_like(x, 2), pos)
    with pytest.raises(ValueError, match=r"x must be between 0 and 1 .* got nan at event 0"):
        make()(torch.full_like(x, float("nan")), pos)
    with pytest.raises(ValueError, match="batch must not be negative"):
        make()(x, pos, torch.tensor([-1, 0, 0, 0]))
    with pytest.raises(ValueError, match="batch must be sorted"):
        make()(x, pos, torch.tensor([0, 1, 0, 0]))
    with pytest.raises(TypeError, match="x must be a floating point tensor"):
        make()(x.long(), pos)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        make()(x, pos, batch_size=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"depths": (1,)}, "one entry per stage, got 2, 1 and 2"),
        ({"strides": (0, 1)}, "depths and strides must be positive"),
        ({"head": "last"}, "head must be one of mean, time, got 'last'"),
        ({"class_names": ["a"]}, "class_names must have num_classes = 3 names"),
        ({"frequencies": 0}, "sensor_size, polarities and frequencies must be positive"),
        ({"presorted": False}, "presorted must be True, because events are in the order of time"),
        ({"dimensions": 3}, "dimensions must be 1"),
    ],
)
def test_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make(**options)
