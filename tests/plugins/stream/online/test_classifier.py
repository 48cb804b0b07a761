"""OnlineClassifier: the logits equal those of the whole recording, for any chunks of events."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from evenfall_stream import EventStreamClassifier, OnlineClassifier
from evenfall_stream.online import classifier as online
from evenfall_stream.online.state import pack, zero_state

SENSOR = (5, 4)
Options = dict[str, Any]


def make(**options: Any) -> EventStreamClassifier:
    torch.manual_seed(0)
    sizes = {"widths": (8, 12), "strides": (3, 2), "depths": (1, 2), "d_state": 4}
    return EventStreamClassifier(3, SENSOR, **{**sizes, **options}).eval()


def events(count: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Random events 0 to 9 ms apart, a quarter of them at the time of the one before."""
    draw = torch.Generator().manual_seed(seed)
    gaps = torch.randint(0, 40, (count,), generator=draw) / 4
    gaps[torch.rand(count, generator=draw) < 0.25] = 0
    xy = [torch.randint(0, extent, (count,), generator=draw) for extent in SENSOR]
    x = torch.randint(0, 2, (count, 1), generator=draw).float()
    return x, torch.stack([gaps.cumsum(0), *xy], 1)


def offline(model: EventStreamClassifier, x: Tensor, pos: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x, pos)


def close_to(result: Tensor, expected: Tensor) -> None:
    assert not result.requires_grad
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)


def push_all(stream: OnlineClassifier, x: Tensor, pos: Tensor, sizes: list[int]) -> None:
    for piece in zip(x.split(sizes), pos.split(sizes), strict=True):
        stream.push(*piece)


stages = st.integers(1, 3).flatmap(
    lambda count: st.fixed_dictionaries({
        name: st.lists(values, min_size=count, max_size=count)
        for name, values in {
            "widths": st.sampled_from([4, 8]), "depths": st.integers(1, 2),
            "strides": st.integers(1, 4),
        }.items()
    })
)  # fmt: skip
layers = st.fixed_dictionaries({
    "head": st.sampled_from(["mean", "time"]),
    "step": st.sampled_from(["coordinate", "learned", "uniform"]),
    "discretization": st.sampled_from(["mamba", "zoh", "dirac", "async"]),
    "combine": st.sampled_from(["sum", "attention", "concat"]),
    "mlp_ratio": st.sampled_from([0.0, 1.5]),
    "d_conv": st.sampled_from([0, 1, 4]),
    "frequencies": st.sampled_from([None, 3]),
    "drop_path": st.sampled_from([0.0, 0.5]),
    "bias": st.booleans(),
})  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(stages, layers, st.lists(st.integers(0, 9), min_size=1, max_size=8), st.data())
def test_any_pushes_give_the_result_of_the_whole(
    sizes: Options, options: Options, pushes: list[int], data: st.DataObject
) -> None:
    assume(options["step"] != "learned" or options["discretization"] != "async")
    model = make(**sizes, **options)
    x, pos = events(sum(pushes), data.draw(st.integers(0, 99)))
    with mock.patch.multiple(online, BUFFER=data.draw(st.integers(1, 9)), PIECE=5):
        read_often, read_once = OnlineClassifier(model), OnlineClassifier(model)
        done = 0
        for count in pushes:
            piece = x[done : done + count], pos[done : done + count]
            read_often.push(*piece)
            read_once.push(*piece)
            done += count
            if data.draw(st.booleans()):
                close_to(read_often.logits(), offline(model, x[:done], pos[:done]))
        close_to(read_once.logits(), offline(model, x, pos))
        close_to(read_often.logits(), read_once.logits())


@pytest.mark.parametrize("head", ["mean", "time"])
def test_no_event_one_event_and_no_time(head: str) -> None:
    model = make(head=head)
    x, pos = events(6)
    pos[:, 0] = 7.5
    stream = OnlineClassifier(model)
    close_to(stream.logits(), offline(model, x[:0], pos[:0]))
    for done in range(6):
        stream.push(x[done : done + 1], pos[done : done + 1])
        stream.push(x[:0], pos[:0])
        close_to(stream.logits(), offline(model, x[: done + 1], pos[: done + 1]))


def test_one_large_push_is_many_small_ones() -> None:
    model = make()
    x, pos = events(20_000)
    stream = OnlineClassifier(model)
    stream.push(x, pos)
    whole = stream.logits()
    close_to(whole, offline(model, x, pos))
    stream.reset()
    push_all(stream, x, pos, [700] * 28 + [400])
    close_to(stream.logits(), whole)


@pytest.mark.parametrize("head", ["mean", "time"])
def test_hours_into_a_stream(head: str) -> None:
    """In float32, milliseconds are whole numbers there, and another result comes out."""
    model = make(head=head, discretization="dirac", length_scale=(2.0, 20.0))
    with torch.no_grad():
        for stage in model.stages:
            stage.pooling.conv.out_proj.weight.mul_(8)  # so that the steps matter
    x, pos = events(60)
    later = pos.double()
    later[:, 0] += 1e7
    expected = offline(model, x, pos)
    assert not torch.allclose(offline(model, x, later.float()), expected, rtol=0, atol=1e-4)
    stream = OnlineClassifier(model)
    push_all(stream, x, later, [15] * 4)
    close_to(stream.logits(), expected)


@pytest.mark.parametrize("sizes", [[120], [1] * 120, [7] * 17 + [1]], ids=["whole", "each", "7"])
def test_a_clock_that_starts_again(sizes: list[int]) -> None:
    model = make(head="time")
    x, pos = events(120)
    turning = pos.clone()
    turning[:, 0] %= 100
    assert int((turning[:, 0].diff() < 0).sum()) >= 4
    stream = OnlineClassifier(model, wrap=100.0)
    push_all(stream, x, turning, sizes)
    close_to(stream.logits(), offline(model, x, pos))
    back = turning[-1:].clone()
    back[0, 0] -= 1
    with pytest.raises(ValueError, match="event 0 of the push is 1 ms earlier than the previous"):
        stream.push(x[:1], back)
    with pytest.raises(ValueError, match="pass its period as wrap"):
        OnlineClassifier(model).push(x, turning)


def test_times_that_run_backwards_change_nothing() -> None:
    model = make()
    x, pos = events(12)
    stream = OnlineClassifier(model)
    stream.push(x[:4], pos[:4])
    within, across = pos[4:8].clone(), pos[4:8].clone()
    within[2, 0] = within[1, 0] - 2
    across[0, 0] = pos[3, 0] - 0.5
    for bad, event, lag in ((within, 2, "2"), (across, 0, "0.5")):
        with pytest.raises(ValueError, match=f"must not decrease: event {event} .* {lag} ms"):
            stream.push(x[4:8], bad)
    stream.push(x[4:], pos[4:])
    close_to(stream.logits(), offline(model, x, pos))


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        (0, float("nan"), r"pos must be finite, got \[nan, .* at event 2"),
        (0, float("inf"), "pos must be finite"),
        (
            1,
            5.0,
            r"pos column 1 must be between 0 and 4 \(sensor_size \(5, 4\), .* got 5 at event 2",
        ),
        (2, -1.0, "pos column 2 must be between 0 and 3 .* got -1 at event 2"),
        (2, float("nan"), "pos column 2 must be between 0 and 3 .* got nan at event 2"),
        (3, 2.0, "x must be between 0 and 1 .* got 2 at event 2"),
    ],
)
def test_events_outside_the_sensor(column: int, value: float, words: str) -> None:
    x, pos = events(4)
    (x if column == 3 else pos)[2, column % 3] = value
    with pytest.raises(ValueError, match=words):
        OnlineClassifier(make()).push(x, pos)


def test_shapes_and_kinds() -> None:
    x, pos = events(4)
    stream = OnlineClassifier(make())
    with pytest.raises(ValueError, match=r"pos must have shape \(events, 3\): time and 2 sensor"):
        stream.push(x, pos[:, :2])
    with pytest.raises(ValueError, match=r"x must have shape \(points, channels\) = \(4, 1\)"):
        stream.push(x[:3], pos)
    with pytest.raises(TypeError, match=r"pos must be a floating point tensor, got torch.int64"):
        stream.push(x, pos.long())
    with pytest.raises(TypeError, match="x must be a floating point tensor"):
        stream.push(x.long(), pos)


def test_a_reset_forgets_and_sees_new_weights() -> None:
    model = make(frequencies=3)
    x, pos = events(30)
    stream = OnlineClassifier(model)
    stream.push(*events(17, seed=2))
    stream.reset()
    stream.push(x, pos)
    before = stream.logits()
    close_to(before, offline(model, x, pos))
    with torch.no_grad():
        model.embedding.mix.mul_(2)
    stream.reset()
    stream.push(x, pos)
    close_to(stream.logits(), offline(model, x, pos))
    assert not torch.allclose(stream.logits(), before, atol=1e-3)


@pytest.mark.parametrize("options", [{}, {"head": "time", "d_conv": 0}, {"d_conv": 1}], ids=str)
def test_the_state_through_a_file(tmp_path: Path, options: Options) -> None:
    model = make(**options)
    x, pos = events(60)
    pos[:, 0] %= 100
    stream, other = (OnlineClassifier(m, wrap=100.0) for m in (model, copy.deepcopy(model)))
    shapes = {name: (t.shape, t.dtype) for name, t in stream.state_dict().items()}
    for done in (0, 1, 25):
        stream.reset()
        stream.push(x[:done], pos[:done])
        save_file(stream.state_dict(), tmp_path / "state.safetensors")
        tensors = load_file(tmp_path / "state.safetensors")
        assert {name: (t.shape, t.dtype) for name, t in tensors.items()} == shapes
        other.push(*events(5, seed=3))
        other.load_state_dict(tensors)
        for running in (stream, other):
            running.push(x[done:], pos[done:])
        assert torch.equal(stream.logits(), other.logits())


def test_a_state_kept_is_not_overwritten() -> None:
    x, pos = events(40)
    stream = OnlineClassifier(make())
    stream.push(x[:20], pos[:20])
    saved_state, expected = stream.state_dict(), stream.logits()
    for _ in range(2):
        stream.push(x[20:], pos[20:])
        stream.load_state_dict(saved_state)
        assert torch.equal(stream.logits(), expected)


def test_states_of_another_model() -> None:
    stream = OnlineClassifier(make())
    state = stream.state_dict()
    with pytest.raises(ValueError, match=r"missing \['evidence.count'\], unknown \['more'\]"):
        stream.load_state_dict(
            {"more" if name == "evidence.count" else name: t for name, t in state.items()}
        )
    with pytest.raises(ValueError, match=r"state\['stages.0.total'\] must have shape \(1, 8\)"):
        stream.load_state_dict({**state, "stages.0.total": torch.zeros(1, 9)})


def test_memory_does_not_grow() -> None:
    model = make(strides=(1, 4))
    stream = OnlineClassifier(model)

    def storage_sizes() -> dict[str, int]:
        """Bytes behind each tensor, of which it may be a part."""
        tensors = [stream._table, *_tensors(stream._state)]
        return {str(i): t.untyped_storage().nbytes() for i, t in enumerate(tensors)}

    empty, buffers = storage_sizes(), (stream._ids.nbytes, stream._times.nbytes)
    x, pos = events(3000)
    for sizes in ([3000], [1100, 1100, 800], [1] * 3000):
        push_all(stream, x, pos, sizes)
        pos[:, 0] += float(pos[-1, 0])
        stream.logits()
        assert storage_sizes() == empty
        assert (stream._ids.nbytes, stream._times.nbytes) == buffers
    names = {name: t.shape for name, t in stream.state_dict().items()}
    assert names == {name: t.shape for name, t in pack(zero_state(model)).items()}


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, tuple):
        return [tensor for part in value for tensor in _tensors(part)]
    return [value] if isinstance(value, Tensor) else []


def test_audio_double_precision_and_autocast() -> None:
    model = EventStreamClassifier(4, (20,), widths=(8,), depths=(2,), strides=(2,), polarities=1)
    model.double().eval()
    x = torch.zeros(9, 1, dtype=torch.float64)
    pos = torch.stack([torch.arange(9.0), torch.randint(0, 20, (9,)).float()], 1).double()
    stream = OnlineClassifier(model)
    stream.push(x, pos)
    assert stream.logits().dtype == torch.float64
    torch.testing.assert_close(stream.logits(), offline(model, x, pos), rtol=1e-12, atol=1e-12)
    stream = OnlineClassifier(model.float())
    with torch.autocast("cpu", torch.bfloat16):
        push_all(stream, x, pos, [4, 5])
        result = stream.logits().float()
    torch.testing.assert_close(result, offline(model, x.float(), pos.float()), rtol=0.1, atol=0.1)


def test_models_that_cannot_run_online() -> None:
    with pytest.raises(ValueError, match="model must run forward in time"):
        OnlineClassifier(make(bidirectional=True))
    with pytest.raises(TypeError, match="model must be an EventStreamClassifier, got Linear"):
        OnlineClassifier(torch.nn.Linear(2, 2))
    for wrap in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="wrap must be positive and finite"):
            OnlineClassifier(make(), wrap=wrap)


def test_training_mode_is_refused() -> None:
    model = make()
    stream = OnlineClassifier(model)
    x, pos = events(4)
    stream.push(x, pos)
    model.train()
    for call in (stream.reset, stream.logits, stream.state_dict, lambda: stream.push(x, pos)):
        with pytest.raises(ValueError, match="model must be in evaluation mode"):
            call()
    with pytest.raises(ValueError, match="model must be in evaluation mode"):
        OnlineClassifier(model)
    model.eval()
    close_to(stream.logits(), offline(model, x, pos))
