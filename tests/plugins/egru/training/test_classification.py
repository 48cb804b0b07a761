"""Whole runs of the classifier of frame sequences on a tiny task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from evenfall_egru.evaluation.accuracy import evaluate_frames
from evenfall_egru.sequences.frames import Frames
from evenfall_egru.training import (
    ClassificationRecipe,
    classification_run,
    load_classification_recipe,
    train_classifier,
)

CLASSES = ("left", "right")


def tiny(dataset: str, path: Any, split: str, options: dict[str, Any]) -> Frames:
    """Eight steps of noise; the class says which of two features is larger on average."""
    random = np.random.default_rng(len(split))
    labels = random.integers(0, 2, 64)
    x = random.normal(0, 0.3, (64, 8, 2)).astype(np.float32)
    x[np.arange(64), :, labels] += 1
    return Frames(torch.from_numpy(x), torch.from_numpy(labels), CLASSES)


@pytest.fixture(autouse=True)
def _tiny_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classification_run, "read_frames", tiny)


def recipe(cell: str = "egru", epochs: int = 6, **settings: Any) -> ClassificationRecipe:
    model = {"hidden_sizes": [12], "dampening": 0.7, "support": 1.0, "zoneout": 0.1}
    fixed = {"batch_size": 16, "learning_rate": 5e-2, "seed": 3}
    return ClassificationRecipe(model=model, cell=cell, epochs=epochs, **{**fixed, **settings})


def log(output: Path, key: str) -> list[float]:
    lines = map(json.loads, (output / "log.jsonl").read_text().splitlines())
    return [line[key] for line in lines if key in line]


def test_an_egru_learns_and_loads_as_a_transformers_model(tmp_path: Path) -> None:
    best = train_classifier(recipe(), None, tmp_path / "run")
    accuracy = log(tmp_path / "run", "eval_accuracy")
    assert max(accuracy) > 0.9
    assert all(0 < rate < 1 for rate in log(tmp_path / "run", "eval_activity"))
    model = AutoModelForSequenceClassification.from_pretrained(best)
    assert model.config.id2label == {0: "left", 1: "right"}
    result = evaluate_frames(model, tiny("", None, "valid", {}))
    assert result["accuracy"] == pytest.approx(max(accuracy))
    assert len(result["predictions"]) == result["sequences"] == 64
    assert not list(best.glob("*.bin"))


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_baselines_train_alike(tmp_path: Path, cell: str) -> None:
    train_classifier(recipe(cell), None, tmp_path / "run")
    assert max(log(tmp_path / "run", "eval_accuracy")) > 0.9
    assert not log(tmp_path / "run", "eval_activity")


def test_a_resumed_run_gives_the_same_weights(tmp_path: Path) -> None:
    whole = train_classifier(recipe(), None, tmp_path / "whole")

    class Killed(Exception):
        pass

    def stop(task: str, done: int, total: int) -> None:
        if task.startswith("epoch 3"):
            raise Killed

    with pytest.raises(Killed):
        train_classifier(recipe(), None, tmp_path / "cut", progress=stop)
    with pytest.raises(FileExistsError, match="--resume"):
        train_classifier(recipe(), None, tmp_path / "cut")
    resumed = train_classifier(recipe(), None, tmp_path / "cut", resume=True)
    a, b = (load_file(folder / "model.safetensors") for folder in (whole, resumed))
    assert all(torch.equal(a[name], b[name]) for name in a)
    losses = [log(tmp_path / run, "eval_loss") for run in ("whole", "cut")]
    assert losses[0] == losses[1]


def test_a_batch_larger_than_the_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"batch_size \(65\) exceeds the 64"):
        train_classifier(recipe(batch_size=65), None, tmp_path / "run")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cell": "rnn"}, "cell must be one of egru, gru, lstm, got 'rnn'"),
        ({"epochs": 0}, "epochs must be an integer of at least 1 and below 1000000, got 0"),
        ({"seed": True}, "seed must be"),
        ({"learning_rate": 0.0}, "learning_rate must be more than 0"),
        ({"betas": (0.9,)}, "betas must be two numbers"),
        ({"dataset_options": 3}, "dataset_options must be a mapping, got 3"),
        ({"dataset": 3}, "dataset must be a string, got 3"),
        (
            {"model": {"embedding_size": 3}},
            "model must not set embedding_size, which comes from th",
        ),
        ({"model": {"num_labels": 3}}, "model must not set num_labels, which comes from the data"),
        ({"model": {"tie_word_embeddings": True}}, "model must not set tie_word_embeddings"),
        ({"model": {"use_cache": True}}, "model has unknown keys"),
    ],
)
def test_values_out_of_range_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClassificationRecipe(**settings)


def test_a_recipe_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("cell: gru\nlearning_rate: 1e-3\ndataset_options: {pixels: 4}\n")
    settings = load_classification_recipe(file)
    assert (settings.cell, settings.learning_rate) == ("gru", 1e-3)
    assert settings.dataset_options == {"pixels": 4}


def test_the_choices_of_the_command_replace_those_of_the_recipe() -> None:
    first = recipe(dataset_options={"folds": 5, "fold": 0})
    other = first.with_choices(seed=0, cell="lstm", fold=3)
    assert (other.seed, other.cell, other.dataset_options) == (0, "lstm", {"folds": 5, "fold": 3})
    assert first.with_choices() == first
    with pytest.raises(ValueError, match="cell must be one of egru, gru, lstm, got 'rnn'"):
        first.with_choices(cell="rnn")


def test_no_sequences_are_an_error() -> None:
    empty = Frames(torch.zeros(0, 8, 2), torch.zeros(0, dtype=torch.long), CLASSES)
    with pytest.raises(ValueError, match="at least one sequence"):
        evaluate_frames(torch.nn.Linear(1, 1), empty)
