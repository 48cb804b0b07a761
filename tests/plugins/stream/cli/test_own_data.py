"""Folders of one's own files: trained on and predicted with two commands, and no Python."""

from __future__ import annotations

import csv
import json
import logging
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.io import wavfile
from typer.testing import CliRunner, Result

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")
pytest.importorskip("accelerate")
pytest.importorskip("timm")

from evenfall_stream import EventStreamClassifier, StreamClassifier
from evenfall_stream.cli import app
from evenfall_stream.inference import FilePrediction, Part
from evenfall_stream.inference.table import write_table
from evenfall_stream.training import checkpoint_recipe


def _evenfall(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def _done(*arguments: object) -> Result:
    result = _evenfall(*arguments)
    assert result.exit_code == 0, result.output
    return result


def write_dot(path: Path, to: str, seed: int, events: int = 120, start: int = 0) -> None:
    """A dot on 40 x 30 pixels that moves to the left or to the right in 100 ms."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, 100_000, events))
    along = 5 + 30 * t // 100_000
    x = (along if to == "right" else 39 - along) + rng.integers(-1, 2, events)
    y = 15 + rng.integers(-3, 4, events)
    x[0], y[0] = 39, 29  # every file fills the sensor
    np.savez(path, t=start + t, x=x, y=y, p=rng.integers(0, 2, events))


def test_a_folder_of_recordings_in_two_commands(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(10):
        for to in ("left", "right"):
            write_dot(tmp_path / "data" / to / f"{number}.npz", to, number)
    with caplog.at_level(logging.INFO):
        _done("train", "recordings", "--data", tmp_path / "data", "--output", tmp_path / "run",
              "--epochs", 2)  # fmt: skip
    (line,) = [one for one in caplog.messages if one.startswith("best: ")]
    assert "nearest neighbour on centred count images: valid_accuracy" in line
    recipe = checkpoint_recipe(tmp_path / "run" / "best")
    assert recipe.dataset_options == {"sensor_size": [40, 30], "most_pixels": 128}
    assert recipe.model_options["sensor_size"] == [40, 30]
    result = _done("predict", tmp_path / "run" / "best", tmp_path / "data" / "left", "--json")
    rows = json.loads(result.stdout)
    assert len(rows) == 10
    assert {frozenset(row["probabilities"]) for row in rows} == {frozenset({"left", "right"})}
    assert rows[0]["events"] == 120
    again = _done("train", "recordings", "--data", tmp_path / "data", "--output", tmp_path / "run",
                  "--epochs", 2, "--resume")  # fmt: skip
    assert "best model" in again.stdout
    result = _done("evaluate", tmp_path / "run" / "best", "--data", tmp_path / "data", "--json")
    assert json.loads(result.stdout)["examples"] == 4


def test_a_folder_of_wav_files_in_two_commands(tmp_path: Path) -> None:
    for name, pitch in (("low", 300), ("high", 2000)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(6):
            time = np.arange(2000) / 8000
            wave = 12_000 * np.sin(2 * np.pi * pitch * (1 + number / 50) * time)
            wavfile.write(tmp_path / "data" / name / f"{number}.wav", 8000, wave.astype(np.int16))
    _done("train", "sounds", "--data", tmp_path / "data", "--output", tmp_path / "run",
          "--epochs", 6)  # fmt: skip
    file = tmp_path / "data" / "high" / "0.wav"
    (row,) = json.loads(_done("predict", tmp_path / "run" / "best", file, "--json").stdout)
    assert row["class"] == "high"
    assert row["events"] > 10


def test_a_folder_of_clouds_in_two_commands(tmp_path: Path) -> None:
    recipe = {
        "dataset": "clouds", "epochs": 1, "batch_size": 4, "preparation": ["NormalizeSphere"],
        "model_options": {"width": 8, "depth": 1, "groups": 8, "neighbors": 4, "head": []},
    }  # fmt: skip
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(recipe))
    for name, flat in (("ball", 1.0), ("disc", 0.01)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(5):
            points = np.random.default_rng(number).normal(size=(40, 3)) * [1, 1, flat]
            np.save(tmp_path / "data" / name / f"{number}.npy", points)
    _done("train", tmp_path / "mine.yaml", "--data", tmp_path / "data", "--output",
          tmp_path / "run")  # fmt: skip
    result = _done("predict", tmp_path / "run" / "best", tmp_path / "data", "--json")
    assert [row["points"] for row in json.loads(result.stdout)] == [40] * 10


OWN = """
import torch
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

class Walks:
    classes = ["up", "down"]
    sensor_size = (6,)
    polarities = 1

    def __init__(self, folder, split, count=6):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        time = torch.arange(12.0)
        place = time // 2 if index % 2 else 5 - time // 2
        pos = torch.stack([time, place], 1)
        return Data(x=torch.zeros(12, 1), pos=pos, y=torch.tensor([index % 2]))

class Late(BaseTransform):
    def __init__(self, by, sensor_size):
        self.by = by
        assert tuple(sensor_size) == (6,)

    def forward(self, data):
        data.pos[:, 0] += self.by
        return data
"""


def test_own_classes_by_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_walks.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_walks", raising=False)
    recipe = {
        "task": "events", "dataset": "own_walks:Walks", "dataset_options": {"count": 4},
        "preparation": [{"own_walks:Late": {"by": 1.0}}], "epochs": 1, "batch_size": 2,
        "model_options": {"widths": [8], "depths": [1], "strides": [4]},
    }  # fmt: skip
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(recipe))
    train = ("train", file, "--data", tmp_path, "--output")
    _done(*train, tmp_path / "run")
    saved = checkpoint_recipe(tmp_path / "run" / "best")
    assert saved.model_options["sensor_size"] == [6]
    assert saved.model_options["polarities"] == 1
    for changes, words in (
        ({"dataset": "own_walks:Runs"}, "dataset: cannot import 'own_walks:Runs'"),
        ({"dataset": "os:system"}, "dataset 'os:system' must be a class of a data set"),
        ({"preparation": ["own_walks:Walks"]}, "must be a subclass of BaseTransform"),
        ({"preparation": [{"Center": 3}]}, "Center: arguments must be a mapping, got 3"),
    ):
        file.write_text(yaml.safe_dump({**recipe, **changes}))
        result = _evenfall(*train, tmp_path / "other")
        assert result.exit_code == 1
        assert words in result.stderr


@pytest.fixture
def camera(tmp_path: Path) -> Path:
    """A model of recordings of 40 x 30 pixels."""
    model = EventStreamClassifier(
        2, [40, 30], class_names=["left", "right"], widths=[8], depths=[1], strides=[4]
    )
    model.save_pretrained(tmp_path / "camera")
    return tmp_path / "camera"


def test_a_long_recording_has_a_class_over_time(tmp_path: Path, camera: Path) -> None:
    file = tmp_path / "long.npz"
    write_dot(file, "left", 0, events=200)
    with np.load(file) as first:
        late = {name: np.concatenate([first[name]] * 2) for name in first}
    late["t"][200:] += 300_000  # nothing happens from 100 ms to 300 ms
    np.savez(file, **late)
    result = _done(
        "predict", camera, file, "--window", 50, "--json", "--csv", tmp_path / "out" / "c.csv",
        "--pictures", tmp_path / "drawn",
    )  # fmt: skip
    (row,) = json.loads(result.stdout)
    assert [part["start_ms"] for part in row["windows"]] == [50 * n for n in range(8)]
    assert [part["class"] is None for part in row["windows"]] == [
        False, False, True, True, True, True, False, False,
    ]  # fmt: skip
    assert sum(part["events"] for part in row["windows"]) == row["events"] == 400
    scored = [part["probabilities"] for part in row["windows"] if part["class"]]
    for name in ("left", "right"):
        mean = np.mean([one[name] for one in scored])
        assert row["probabilities"][name] == pytest.approx(mean, abs=1e-6)
    with (tmp_path / "out" / "c.csv").open() as lines:
        table = list(csv.DictReader(lines))
    assert list(table[0]) == ["input", "start_ms", "end_ms", "events", "class", "left", "right"]
    assert [line["class"] or None for line in table] == [p["class"] for p in row["windows"]]
    assert float(table[0]["left"]) == pytest.approx(scored[0]["left"], abs=1e-6)
    (picture,) = (tmp_path / "drawn").glob("*.png")
    assert picture.stat().st_size > 5000
    halves = json.loads(
        _done("predict", camera, file, "--window", 50, "--hop", 25, "--json").stdout
    )
    assert len(halves[0]["windows"]) == 15


def test_times_of_a_long_recording_are_written_in_full(tmp_path: Path) -> None:
    parts = [Part(start, start + 0.1, 1, [1.0]) for start in (0.2, 1_234_567.891, 86_399_999.999)]
    found = FilePrediction(Path("a.npz"), "events", 3, [1.0], parts, "")
    with write_table([found], ["one"], tmp_path / "t.csv").open() as lines:
        times = [(row["start_ms"], row["end_ms"]) for row in csv.DictReader(lines)]
    assert times == [
        ("0.2", "0.3"),
        ("1234567.891", "1234567.991"),
        ("86399999.999", "86400000.099"),
    ]


def test_predict_goes_on_after_a_bad_file(tmp_path: Path, camera: Path) -> None:
    write_dot(tmp_path / "a.npz", "left", 0)
    (tmp_path / "b.npz").write_text("rubbish")
    write_dot(tmp_path / "c.npz", "right", 1)
    files = [tmp_path / name for name in ("a.npz", "b.npz", "none.npz", "c.npz")]
    result = _evenfall("predict", camera, *files, "--json")
    assert result.exit_code == 1
    rows = json.loads(result.stdout)
    assert ["error" in row for row in rows] == [False, True, True, False]
    assert "no such file" in rows[2]["error"]
    assert [line.split()[0] for line in result.stderr.splitlines()] == ["Error:", "Error:"]
    result = _evenfall("predict", camera, *files)
    assert result.exit_code == 1
    assert "a.npz" in result.stdout
    assert "c.npz" in result.stdout


def test_predict_says_when_a_file_has_next_to_nothing(tmp_path: Path, camera: Path) -> None:
    none = np.zeros(0, np.int64)
    np.savez(tmp_path / "none.npz", t=none, x=none, y=none, p=none)
    np.savez(tmp_path / "one.npz", **{name: [1] for name in "txyp"})
    result = _done("predict", camera, tmp_path / "none.npz", tmp_path / "one.npz", "--json",
                   "--window", 10)  # fmt: skip
    rows = json.loads(result.stdout)
    assert [row["events"] for row in rows] == [0, 1]
    assert [row["note"] for row in rows] == [
        "the file has no events: its class means nothing",
        "the file has one event: its class means nothing",
    ]
    assert "Note: " in result.stderr
    small = {"width": 8, "depth": 1, "groups": 4, "neighbors": 2}
    StreamClassifier(2, **small).save_pretrained(tmp_path / "m")
    np.save(tmp_path / "one.npy", np.ones((1, 3)))
    (row,) = json.loads(_done("predict", tmp_path / "m", tmp_path / "one.npy", "--json").stdout)
    assert row["note"] == "the file has one point: its class means nothing"


def test_options_that_do_not_fit_are_named(tmp_path: Path, camera: Path) -> None:
    for options, words in (
        (("--hop", 3), "hop needs a window"),
        (("--window", -3), "window must be a positive number of milliseconds"),
    ):
        result = _evenfall("predict", camera, tmp_path, *options)
        assert result.exit_code == 1
        assert words in result.stderr
    small = {"width": 8, "depth": 1, "groups": 4, "neighbors": 2}
    StreamClassifier(2, **small).save_pretrained(tmp_path / "clouds")
    for model, option, value, kind in (
        (camera, "--points", 5, "a classifier of recordings"),
        (tmp_path / "clouds", "--window", 5, "a classifier of clouds"),
        (tmp_path / "clouds", "--hop", 5, "a classifier of clouds"),
        (tmp_path / "clouds", "--pictures", tmp_path / "drawn", "a classifier of clouds"),
    ):
        result = _evenfall("predict", model, tmp_path, option, value)
        assert result.exit_code == 1
        assert f"{option} is not an option for {kind}" in result.stderr
    (tmp_path / "empty").mkdir()
    result = _evenfall("predict", camera, tmp_path / "empty")
    assert "has no files of clouds, recordings or sounds" in result.stderr
