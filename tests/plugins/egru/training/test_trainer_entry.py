"""The trainer "egru", used through the registry as another plugin does."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from evenfall import registry
from evenfall.trainers import ExampleLoader, Trainer


def test_recipe_training_and_evaluation(corpus: Path, tmp_path: Path) -> None:
    trainer = registry.trainers.get("egru")
    assert isinstance(trainer, Trainer)
    file = tmp_path / "tiny.yaml"
    file.write_text(
        "model: {embedding_size: 12, hidden_sizes: [20, 12]}\n"
        "batch_size: 8\nwindow: 12\nepochs: 1\nlearning_rate: 0.02\n"
    )
    recipe = trainer.load_recipe(file)
    assert isinstance(recipe, trainer.Recipe)
    seen: list[tuple[str, int, int]] = []
    runs = {
        epochs: trainer.train(
            replace(recipe, epochs=epochs),
            corpus,
            tmp_path / "run",
            resume=True,
            progress=lambda *step: seen.append(step),
        )
        for epochs in (1, 2)
    }
    assert runs[1] == runs[2] == tmp_path / "run" / "best"
    assert seen[-1] == ("epoch 2 of 2", 12, 12)
    figures = trainer.evaluate(runs[2], corpus, "test")
    assert json.loads(json.dumps(figures)) == figures
    assert asdict(trainer.load_recipe(runs[2] / "recipe.yaml")) == asdict(replace(recipe, epochs=2))

    about = registry.trainers.provenance("egru").metadata
    assert (about["metric"], about["greater_is_better"]) == ("perplexity", False)
    assert 1 < figures["perplexity"] < 20  # the corpus has few words

    assert isinstance(trainer, ExampleLoader)
    model, example = trainer.load_example(runs[2], corpus, "valid")
    assert example["input_ids"].shape == (1, 360)  # 60 lines of 5 words and a line break
    assert model(**example).logits.shape[:2] == (1, 360)


def test_what_is_not_there_is_named(corpus: Path, tmp_path: Path) -> None:
    trainer = registry.trainers.get("egru")
    with pytest.raises(FileNotFoundError, match="absent"):
        trainer.evaluate(tmp_path / "absent", corpus, "valid")
    with pytest.raises(FileNotFoundError, match="absent"):
        trainer.load_recipe(tmp_path / "absent.yaml")
