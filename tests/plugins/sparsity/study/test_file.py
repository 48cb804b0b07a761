"""The file of a study is read as a whole, and what is wrong in it is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")

from evenfall_sparsity.study import find_study, read_study
from evenfall_sparsity.study.file import DenseModel, Line
from evenfall_sparsity.study.plan import plan_study

Write = Callable[..., Path]


def test_a_study_is_read(write: Write) -> None:
    study = read_study(write())
    assert study.models["wide"] == DenseModel({"width": 20})
    assert study.models["late"].after == "wide"
    assert study.lines[1] == Line("wide", "single", [1, 2])
    assert study.splits == ["valid", "test"]


def test_every_run_comes_once_and_after_its_parent(write: Write) -> None:
    runs = plan_study(read_study(write()))
    assert [run.name for run in runs] == [
        "wide/seed-1/start",
        "wide/seed-1/none/0.5",
        "wide/seed-1/none/0.9",
        "wide/seed-1/single/0.5",
        "wide/seed-1/single/0.9",
        "wide/seed-2/start",
        "wide/seed-2/single/0.5",
        "wide/seed-2/single/0.9",
        "late/seed-1/start",
        "late/seed-1/single/0.5",
        "late/seed-1/single/0.9",
    ]
    for place, run in enumerate(runs):
        assert run.parent is None or run.parent in runs[:place]
    assert runs[4].changes == {
        "width": 20,
        "epochs": 1,
        "callbacks": [{"cut": {"amount": 0.9, "block": [1, 1]}}],
    }
    assert [run.prunes for run in runs[:5]] == [False, False, False, True, True]
    assert [run.steps for run in runs[:5]] == [0, 1, 2, 1, 2]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("trainer: toy", "trainer: 3", "trainer must be a string, got 3"),
        ("trainer: toy", "", "missing .* 'trainer'"),
        ("recipe: base.yaml", "recipe: base.yaml\nlevel: 3", r"unknown keys \['level'\]"),
        ("[0.5, 0.9]", "[0.9, 0.5]", "levels must rise"),
        ("[0.5, 0.9]", "[0.5, 1.0]", r"levels must be numbers in \[0, 1\)"),
        ("[0.5, 0.9]", "[half]", "levels must be a list of numbers"),
        ("[0.5, 0.9]", "[]", "levels must be a non-empty list"),
        ("method: none", "method: all", r"method 'all' is not among \['none', 'single'\]"),
        ("model: late", "model: lat", r"model 'lat' is not among \['wide', 'late'\]"),
        ("after: wide", "after: late", "model late: `after` leads back to 'late'"),
        ("after: wide", "after: big", "model 'big' is not among"),
        (
            "after: wide",
            "after: wide, checkpoints: {1: a}",
            "`checkpoints` or `after`, got both",
        ),
        (
            "changes: {width: 20}",
            "change: {width: 20}",
            r"model wide has unknown keys \['change'\]",
        ),
        ("changes: {width: 20}", "changes: [width]", "changes must map names to values"),
        ("  wide: {changes: {width: 20}}", "  wide: 0", "model wide must be a mapping, got 0"),
        (
            "  - {model: late, method: single, seeds: [1]}",
            "  - late",
            "line must be a mapping, got",
        ),
        ("seeds: [1, 2]", "seeds: 1", "seeds must be a list of integers, got 1"),
        ("seeds: [1, 2]", "seeds: [1, 1]", "wide, single, 1 appears twice"),
        ("  wide: {", "  a/b: {}\n  wide: {", "'a/b' cannot be the name of a folder"),
        ("levels:", "splits: [test, valid]\nlevels:", "the first not 'test'"),
        ("none: []", "none: []\n  start: []", "'start' is the name of the dense model's folder"),
        ("levels:", "baseline: slim\nlevels:", "baseline 'slim' is not among"),
    ],
)
def test_what_is_wrong_is_named(write: Write, old: str, new: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_study(write((old, new)))


def test_bundled_studies_are_found_by_name(tmp_path: Path) -> None:
    study = read_study(find_study("ptb"))
    assert study.levels == [0.5, 0.8, 0.9, 0.95]
    assert {line.model for line in study.lines} == {"lstm", "gru", "egru", "quiet"}
    assert find_study(find_study("ptb")) == find_study("ptb")
    with pytest.raises(FileNotFoundError, match=r"study absent not found; bundled studies: .*ptb"):
        find_study("absent")
