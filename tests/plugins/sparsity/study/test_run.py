"""A study runs line by line; it is continued, and a run that fails stops only what needs it."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from evenfall_sparsity.study import run_study, time_study

Write = Callable[..., Path]


def errors(table: dict[str, Any], split: str = "valid") -> dict[str, float]:
    """Name of a run -> its error."""
    return {
        row["run"]: row["metrics"][split]["error"] for row in table["runs"] if "failure" not in row
    }


def test_every_level_begins_with_the_best_model_before_it(
    toy: Any, write: Write, tmp_path: Path
) -> None:
    seen: list[str] = []
    table = run_study(write(), "d", tmp_path / "out", progress=lambda name, *_: seen.append(name))
    got = errors(table)
    assert got["wide/seed-1/start"] == 6.0
    assert got["wide/seed-1/none/0.5"] == pytest.approx(5.4)
    assert got["wide/seed-1/none/0.9"] == pytest.approx(4.86)
    assert got["wide/seed-1/single/0.9"] == pytest.approx(4.86 + 18)
    assert got["wide/seed-2/single/0.5"] == pytest.approx(6.3 + 10)
    assert got["late/seed-1/start"] == pytest.approx(5.4)
    assert errors(table, "test")["late/seed-1/start"] == pytest.approx(6.4)
    assert len(toy.trained) == len(seen) == 11
    assert seen[1] == "wide/seed-1/none/0.5: epoch 1"
    assert json.loads((tmp_path / "out/study.json").read_text()) == table


def test_a_second_call_trains_only_what_is_missing(toy: Any, write: Write, tmp_path: Path) -> None:
    first = run_study(write(), "d", tmp_path / "out")
    toy.trained.clear()
    assert run_study(write(), "d", tmp_path / "out") == first
    assert toy.trained == []
    longer = write(("seeds: [1, 2]", "seeds: [1, 2, 3]"))
    run_study(longer, "d", tmp_path / "out")
    assert [name.split("/")[-2:] for name in toy.trained] == [
        ["seed-3", "start"], ["single", "0.5"], ["single", "0.9"],
    ]  # fmt: skip


def test_an_interrupted_study_goes_on(toy: Any, write: Write, tmp_path: Path) -> None:
    def stop(table: dict[str, Any]) -> None:
        if len(table["runs"]) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(write(), "d", tmp_path / "out", report=stop)
    assert len(json.loads((tmp_path / "out/study.json").read_text())["runs"]) == 3
    assert len(errors(run_study(write(), "d", tmp_path / "out"))) == 11
    assert len(toy.trained) == 11


def test_a_failure_is_reported_and_the_rest_goes_on(toy: Any, write: Write, tmp_path: Path) -> None:
    toy.broken = {"wide/seed-1/single/0.5", "seed-2/start"}
    table = run_study(write(), "d", tmp_path / "out")
    failures = {row["run"]: row["failure"] for row in table["runs"] if "failure" in row}
    assert failures == {
        "wide/seed-1/single/0.5": "FloatingPointError: loss is nan",
        "wide/seed-1/single/0.9": "it begins with wide/seed-1/single/0.5, which failed",
        "wide/seed-2/start": "FloatingPointError: loss is nan",
        "wide/seed-2/single/0.5": "it begins with wide/seed-2/start, which failed",
        "wide/seed-2/single/0.9": "it begins with wide/seed-2/single/0.5, which failed",
    }
    assert len(errors(table)) == 6
    toy.broken = set()
    assert len(errors(run_study(write(), "d", tmp_path / "out"))) == 11


def test_a_full_disk_ends_the_study(
    toy: Any, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def train(*args: Any, **kwargs: Any) -> Path:
        tried.append(1)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(toy, "train", train)
    with pytest.raises(OSError, match="No space left"):
        run_study(write(), "d", tmp_path / "out")
    assert tried == [1]


def test_a_checkpoint_replaces_the_dense_run(toy: Any, write: Write, tmp_path: Path) -> None:
    folder = tmp_path / "trained"
    folder.mkdir()
    (folder / "model.safetensors").write_text(json.dumps({"base": 3.0, "error": 3.0}))
    file = write(("{changes: {width: 20}}", f"{{checkpoints: {{1: {folder}}}}}"))
    got = errors(run_study(file, "d", tmp_path / "out"))
    assert got["wide/seed-1/start"] == 3.0
    assert got["wide/seed-1/none/0.5"] == pytest.approx(2.7)
    assert got["wide/seed-2/start"] == 100 / 8 + 2
    assert not any(name.endswith("wide/seed-1/start") for name in toy.trained)


def test_a_recipe_that_cannot_begin_with_a_model_is_refused(
    toy: Any, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Bare:
        epochs: float = 1

    monkeypatch.setattr(toy, "load_recipe", lambda source: Bare())
    with pytest.raises(ValueError, match="its recipe has no field 'initial_checkpoint'"):
        run_study(write(), "d", tmp_path / "out")


def test_a_wrong_change_stops_the_study_before_it_trains(
    toy: Any, write: Write, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"wide/seed-1/start.*unknown keys \['widht'\]"):
        run_study(write(("width: 20", "widht: 20")), "d", tmp_path / "out")
    assert toy.trained == []


def test_results_of_a_checkpoint_on_other_data_are_told(
    toy: Any, write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "trained"
    folder.mkdir()
    (folder / "model.safetensors").write_text(json.dumps({"base": 3.0, "error": 3.0}))
    file = write(("{changes: {width: 20}}", f"{{checkpoints: {{1: {folder}}}}}"))
    for data, told in (("d", False), ("d", False), ("e", True)):
        caplog.clear()
        run_study(file, data, tmp_path / "out")
        assert ("wide/seed-1/start has results on d, not on e" in caplog.text) is told


def test_runs_that_the_file_lacks_cannot_be_timed(
    toy: Any, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_study(write(), "d", tmp_path / "out")
    monkeypatch.setattr(toy, "load_example", lambda *_: None, raising=False)
    monkeypatch.setattr("evenfall_sparsity.study.speed.find_trainer", lambda name: (toy, {}))
    fewer = write(("seeds: [1, 2]", "seeds: [1]"))
    with pytest.raises(ValueError, match=r"has runs that study .* lacks: \['wide/seed-2/start'"):
        time_study(fewer, "d", tmp_path / "out")
    with pytest.raises(ValueError, match="rounds must be an integer of at least 1, got 0"):
        time_study(fewer, "d", tmp_path / "out", rounds=0)
