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
        ("tokenizer: bpe", "tokenizer must be one of word, byte, got 'bpe'"),
        ("batch_size: 0", "batch_size must be an integer of at least 1, got 0"),
        ("window: 3.5", "window must be an integer of at least 1, got 3.5"),
        ("learning_rate: 0", "learning_rate must be more than 0 and finite, got 0.0"),
        ("learning_rate: fast", "learning_rate must be a number, got 'fast'"),
        ("seed: 1.5", "seed must be an integer of at least 0 and below 4294967296, got 1.5"),
        ("model: {hidden: [3]}", r"model has unknown keys \['hidden'\]"),
        ("model: {type: rnn}", "type must be 'egru', 'lstm' or 'gru', got 'rnn'"),
        ("model: {type: lstm, zoneout: 0.1}", r"unknown keys \['zoneout'\]; known for lstm are"),
        ("model: {type: gru, cell: lstm}", r"unknown keys \['cell'\]"),
        ("schedule: linear", "schedule must be one of cosine, constant, got 'linear'"),
        ("epochs: 0", "epochs must be more than 0 and below 1e\\+06, got 0"),
        ("initial_checkpoint: 3", "initial_checkpoint must be a folder or a name, got 3"),
        ("betas: [0.9]", r"betas must be two numbers, got \(0.9,\)"),
        ("betas: [0.9, 1.0]", "each of betas must be at least 0 and below 1, got 1.0"),
        ("epochs: true", "epochs must be a number, got True"),
        ("{epochs: 3, cosine_start: 3}", r"cosine_start must be below epochs \(3.0\), got 3.0"),
        ("model: {dtype: float99}", r"model has unknown keys \['dtype'\]"),
        ("model: {quantization_config: [1]}", r"unknown keys \['quantization_config'\]"),
        ("betas: 3", "betas must be a list of numbers, got 3"),
        ("betas: 0.9", "betas must be a list of numbers, got 0.9"),
        ("betas: ab", "betas must be a list of numbers, got 'ab'"),
        ("model: {vocab_size: 7}", "model must not set vocab_size, which comes from the tokeniz"),
        ("model: {type: gru, eos_token_id: 7}", "model must not set eos_token_id, which comes"),
        ("model: [1]", r"model must be a mapping, got \[1\]"),
        ("model: {use_cache: false}", r"unknown keys \['use_cache'\]"),
        ("model: {dtype: float16}", r"unknown keys \['dtype'\]"),
        ("model: {hidden_sizes: 3}", "hidden_sizes"),
        ("model: {zoneout: much}", "zoneout"),
        ("model: {dampening: []}", "dampening"),
        ("batch_size: true", "batch_size must be an integer of at least 1, got True"),
        ("epochs: .nan", "epochs must be more than 0 and below"),
        ("seed: 4294967296", "seed must be an integer of at least 0 and below 4294967296"),
        ("weight_decay: -1", "weight_decay must be at least 0 and finite, got -1"),
        ("max_grad_norm: .nan", "max_grad_norm must be at least 0 and finite, got nan"),
        ("learning_rate: .inf", "learning_rate must be more than 0 and finite, got inf"),
        ("bf16: 1", "bf16 must be true or false, got 1"),
        ("tokenizer: [word]", r"tokenizer must be one of word, byte, got \['word'\]"),
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


def test_a_yaml_alias_bomb_is_refused_at_once(tmp_path: Path) -> None:
    """Each line stands for nine times the values of the line before."""
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    (tmp_path / "recipe.yaml").write_text("\n".join([*lines, "model: *a29"]))
    with pytest.raises(ValueError, match="stands for more than 100,000 values") as caught:
        load_recipe(tmp_path / "recipe.yaml")
    assert len(str(caught.value)) < 1000


def test_a_huge_value_is_shortened(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(f"tokenizer: {'x' * 100_000}")
    with pytest.raises(ValueError, match="tokenizer must be one of word, byte, got 'xxx") as caught:
        load_recipe(tmp_path / "recipe.yaml")
    assert len(str(caught.value)) < 500
