"""stream_positions.py changes one option of the shipped recipes; its table adds up the runs."""

from __future__ import annotations

import importlib
from dataclasses import asdict
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("torch_geometric")
pytest.importorskip("accelerate")
pytest.importorskip("timm")


@pytest.fixture(autouse=True)
def _beside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)


def test_only_the_position_embedding_fold_and_seed_change() -> None:
    script = importlib.import_module("stream_positions")
    from evenfall_stream.training import load_recipe

    for name in script.MODELS.values():
        shipped, changed = asdict(load_recipe(name)), asdict(script.without_position(name, 3))
        assert changed["model_options"].pop("position_embedding") is False
        assert changed["dataset_options"].pop("fold") == 3
        assert changed.pop("seed") == 3 != shipped.pop("seed")
        assert changed == shipped


def test_table_compares_the_runs_of_the_same_clouds() -> None:
    script = importlib.import_module("stream_positions")
    figures = {"STREAM": (0.9, 0.8), "PointMamba": (0.8, 0.8)}
    rows = [
        {"model": model, "seed": seed, "examples": 10, "accuracy": accuracy,
         "mean_class_accuracy": accuracy, "loss": 0.5}
        for model, values in figures.items() for seed, accuracy in enumerate(values)
    ]  # fmt: skip
    text = script.tables({"rows": rows})
    assert "| STREAM | 2 | 20 | 85.00 ± 7.07 % | 85.00 ± 7.07 % | 0.500 ± 0.000 |" in text
    assert "STREAM less PointMamba, fold by fold: +10.00, +0.00 points, +5.00 ± 7.07" in text
