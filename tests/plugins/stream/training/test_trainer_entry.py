"""The trainer "stream" from the registry, used without imports of STREAM."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("torch_geometric")
pytest.importorskip("accelerate")
pytest.importorskip("timm")

from evenfall import registry
from evenfall.trainers import Trainer

RECIPE = """
dataset: shapes
model_options: {width: 16, depth: 1, groups: 8, neighbors: 4, head: [8]}
epochs: 3
batch_size: 8
learning_rate: 0.01
"""


@pytest.mark.usefixtures("shapes")
def test_recipe_training_and_evaluation(tmp_path: Path) -> None:
    trainer = registry.trainers.get("stream")
    assert isinstance(trainer, Trainer)
    file = tmp_path / "tiny.yaml"
    file.write_text(RECIPE)
    recipe = trainer.load_recipe(file)
    assert isinstance(recipe, trainer.Recipe)
    best = trainer.train(replace(recipe, epochs=2), tmp_path, tmp_path / "run")
    assert best == trainer.train(recipe, tmp_path, tmp_path / "run", resume=True)
    figures = trainer.evaluate(best, tmp_path, "valid")
    assert json.loads(json.dumps(figures)) == figures
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert figures["accuracy"] == max(line.get("valid_accuracy", 0) for line in lines)

    about = registry.trainers.provenance("stream").metadata
    assert (about["metric"], about["greater_is_better"]) == ("accuracy", True)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    trainer = registry.trainers.get("stream")
    with pytest.raises(FileNotFoundError, match="absent"):
        trainer.evaluate(tmp_path / "absent", tmp_path, "valid")
