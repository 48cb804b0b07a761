"""Frames of event recordings: counts by hand, folds, and options that are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from evenfall import registry
from evenfall.errors import UnknownNameError
from evenfall_egru.sequences import read_event_frames, read_frames
from evenfall_egru.training import load_classification_recipe

TINY = {"events": "made-events", "sensor": [5, 4], "pool": 2, "steps": 3, "step_ms": 1}


class Recordings(list):
    classes = ("a", "b")


def made(path: Any, split: str) -> Recordings:
    """Recordings of one event each, with the number of the recording as their time."""
    count = {"train": 10, "train+valid": 13, "test": 4}[split]
    first = 100 if split == "test" else 0
    return Recordings(recording([first + i], [0], [0], [0], i % 2) for i in range(count))


def recording(t: list, x: list, y: list, p: list, label: int = 0) -> dict[str, np.ndarray]:
    columns = {
        name: np.array(values, np.int64) for name, values in zip("txyp", (t, x, y, p), strict=True)
    }
    return {**columns, "label": np.asarray(label, np.int64)}


@pytest.fixture(autouse=True)
def _data_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    get, provenance = registry.datasets.get, registry.datasets.provenance
    known = {"contents": "events"}
    monkeypatch.setattr(
        registry.datasets, "get", lambda name: made if name == "made-events" else get(name)
    )
    monkeypatch.setattr(
        registry.datasets,
        "provenance",
        lambda name: (
            type("Entry", (), {"metadata": known}) if name == "made-events" else provenance(name)
        ),
    )


def frames_of(monkeypatch: pytest.MonkeyPatch, events: dict, **options: Any) -> np.ndarray:
    monkeypatch.setattr(
        registry.datasets, "get", lambda name: lambda path, split: Recordings([events])
    )
    return read_event_frames(".", "train", **{**TINY, **options})[0]["x"]


def test_events_are_counted_by_step_polarity_and_square(monkeypatch: pytest.MonkeyPatch) -> None:
    t = [7000, 7001, 7999, 8000, 9500, 10000]  # the last one is after the third step
    events = recording(t, [0, 1, 4, 2, 3, 0], [0, 1, 3, 0, 1, 0], [0, 0, 0, 1, 1, 1])
    counts = frames_of(monkeypatch, events, counts="count").reshape(3, 2, 2, 3)
    want = np.zeros((3, 2, 2, 3))
    want[0, 0, 0, 0] = 2
    want[0, 0, 1, 2] = 1
    want[1, 1, 0, 1] = 1
    want[2, 1, 0, 1] = 1
    np.testing.assert_array_equal(counts, want)
    flat = want.reshape(3, 12)
    logs = frames_of(monkeypatch, events)
    np.testing.assert_allclose(logs, np.log(1 + flat), rtol=1e-6)
    np.testing.assert_array_equal(frames_of(monkeypatch, events, counts="clip"), flat > 0)
    assert logs.dtype == np.float32


def test_a_recording_without_events_or_rows_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not frames_of(monkeypatch, recording([], [], [], [])).any()
    channels = recording([0, 5], [3, 3], [0, 0], [1, 1])
    del channels["y"]
    x = frames_of(monkeypatch, channels, sensor=[4, 1], pool=1, counts="count")
    assert x.shape == (3, 8)
    assert x[0].tolist() == [0] * 7 + [2]


def test_folds_are_disjoint_and_cover_all_recordings() -> None:
    def times(split: str, fold: int) -> set[int]:
        opened = read_event_frames(".", split, **TINY, folds=5, fold=fold)
        return {int(one["t"][0]) for one in opened.recordings}

    everything = {*range(13), *range(100, 104)}
    tested = [times("test", fold) for fold in range(5)]
    assert set().union(*tested) == everything
    assert sum(map(len, tested)) == 17
    for fold in range(5):
        train, valid = times("train", fold), times("valid", fold)
        assert valid
        assert not train & valid
        assert train | valid == times("train+valid", fold) == everything - tested[fold]
    assert len(read_event_frames(".", "train", **TINY)) == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sensor": [34]}, "sensor must be two sizes of at least 1, got \\[34\\]"),
        ({"pool": 0}, "pool must be an integer of at least 1, got 0"),
        ({"steps": 2.5}, "steps must be an integer of at least 1, got 2.5"),
        ({"step_ms": 0}, "step_ms must be more than 0 and finite, got 0"),
        ({"step_ms": float("inf")}, "step_ms must be more than 0 and finite, got inf"),
        ({"counts": "sqrt"}, "counts must be one of log, clip, count, got 'sqrt'"),
        ({"folds": 1}, "folds must be an integer of 2 to 17, got 1"),
        ({"events": "mnist"}, "events must name a data set of events, got 'mnist': frames"),
        ({"steps": 10**9}, "must have at most 16777216 counts"),
        ({"split": "dev"}, "split must be one of train, valid, train\\+valid, test, got 'dev'"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_event_frames(**{"path": ".", "split": "test", **TINY, **options})


def test_events_outside_of_the_sensor_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"sensor must contain every event, got \[5, 4\] for col"):
        frames_of(monkeypatch, recording([0], [5], [0], [0]))


def test_a_reader_that_is_not_installed_is_named() -> None:
    with pytest.raises(UnknownNameError, match="evenfall-stream reads 'nmnist'"):
        read_event_frames(".", "train", events="no-such-events")


def test_real_recordings_become_frames_of_the_recipe(data_dir: Path) -> None:
    folder = data_dir / "nmnist_small"
    if not folder.is_dir() or "nmnist" not in registry.datasets:
        pytest.skip(f"no {folder}, or no reader of it")
    options = load_classification_recipe("nmnist-frames").dataset_options
    frames = read_frames("event-frames", folder, "test", {**options, "folds": None})
    assert frames.x.shape == (100, 30, 2 * 17 * 17)
    counted = frames.x.double().expm1().sum()
    assert 0.95 * 385_596 < counted <= 385_596  # of all events of the test recordings
