"""A recipe is one YAML file; impossible values raise errors that name them."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from evenfall_egru.training import Recipe, dump_recipe, load_recipe


def test_round_trip(tmp_path: Path) -> None:
    recipe = Recipe(
        model={"hidden_sizes": [20, 12], "zoneout": 0.1},
        tokenizer="byte",
        epochs=3,
        betas=(0.0, 0.99),
    )
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe))
    assert load_recipe(tmp_path / "recipe.yaml") == recipe
    assert recipe.config(vocab_size=7).vocab_size == 7


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epoch: 3", r"unknown keys \['epoch'\]; known are .*'epochs'"),
        ("- 1", "must be a mapping, got list"),
        ("", "must be a mapping, got NoneType"),
        ("a: [", "is not valid YAML"),
        ("tokenizer: bpe", "tokenizer must be 'word' or 'byte', got 'bpe'"),
        ("batch_size: 0", "batch_size must be a positive integer, got 0"),
        ("window: 3.5", "window must be a positive integer, got 3.5"),
        ("learning_rate: 0", "learning_rate must be positive, got 0"),
        ("learning_rate: fast", "learning_rate must be a number, got 'fast'"),
        ("seed: 1.5", "seed must be 0 or a positive integer, got 1.5"),
        ("model: {hidden: [3]}", r"model has unknown keys \['hidden'\]"),
        ("model: {type: rnn}", "type must be 'egru', 'lstm' or 'gru', got 'rnn'"),
        ("model: {type: lstm, zoneout: 0.1}", r"unknown keys \['zoneout'\]; known for lstm are"),
        ("model: {type: gru, cell: lstm}", r"unknown keys \['cell'\]"),
        ("schedule: linear", "schedule must be 'cosine' or 'constant', got 'linear'"),
        ("epochs: 0", "epochs must be positive, got 0"),
        ("initial_checkpoint: 3", "initial_checkpoint must be a folder or a name, got 3"),
        ("model: {variant: lstm}", "variant must be 'released' or 'paper', got 'lstm'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=words):
        load_recipe(file)


def test_a_float_that_yaml_takes_for_text(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("learning_rate: 1e-3")
    assert load_recipe(tmp_path / "recipe.yaml").learning_rate == 0.001


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_recipe(tmp_path / "recipe.yaml")
