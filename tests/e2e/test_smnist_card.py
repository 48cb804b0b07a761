"""The published classifier of MNIST: its card is that of its results, and it recognises digits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from evenfall import registry
from evenfall.hub.checking import find_problems
from evenfall_egru.evaluation.accuracy import evaluate_frames
from evenfall_egru.publish.classifier_card import make_card
from evenfall_egru.sequences import read_frames
from evenfall_egru.sequences.frames import Frames
from evenfall_egru.training.trained import load_trained

FOLDER = Path(__file__).parents[2] / "hub_cards" / "egru-smnist-small"


def test_its_card_is_made_from_its_results() -> None:
    assert find_problems(FOLDER, make_card) == []
    results = json.loads((FOLDER / "results.json").read_text())
    for row in (one for one in results["evaluations"] if one["published"]):
        right = sum(counts[i] for i, counts in enumerate(row["confusion"]))
        assert right / row["examples"] == row["accuracy"] > 0.97


def test_it_recognises_the_first_digits_of_the_validation_split(data_dir: Path) -> None:
    if not (data_dir / "mnist").is_dir():
        pytest.skip(f"no {data_dir / 'mnist'}")
    registered = registry.checkpoints.get("egru-smnist-small").load(device="cpu")
    model, recipe = load_trained(FOLDER, "cpu")
    frames = read_frames(recipe.dataset, data_dir / "mnist", "valid", recipe.dataset_options)
    few = Frames(frames.x[:100], frames.labels[:100], frames.classes)
    found = evaluate_frames(model, few)
    assert found["accuracy"] > 0.95
    assert found["predictions"] == evaluate_frames(registered, few)["predictions"]
