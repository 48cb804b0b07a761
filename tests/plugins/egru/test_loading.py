"""Checkpoints from elsewhere: whatever a file contains, the error names the folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from rich.console import Console

from evenfall.testing.damage import fuzz_cases
from evenfall_egru import (
    EgruConfig,
    EgruForCausalLM,
    EgruForSequenceClassification,
    quantize,
)
from evenfall_egru.generation.writing import continue_prompt
from evenfall_egru.loading import load_checkpoint, load_classifier
from evenfall_egru.text.encoding import encode
from evenfall_egru.text.tokenization import vocabulary, word_tokenizer

VALUES: list[Any] = [
    None, True, -1, 0, 2**40, 10**30, "", "x" * 5000, [], {}, [[]], [1] * 50, {"type": "BPE"},
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, tokenizer = tmp_path_factory.mktemp("checkpoint"), word_tokenizer(vocabulary(["a b c\n"]))
    config = EgruConfig(vocab_size=len(tokenizer), embedding_size=4, hidden_sizes=[4])
    EgruForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def copy(folder: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    return Path(shutil.copytree(folder, target))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, list):
        value = dict(enumerate(value))
    for key, one in value.items() if isinstance(value, dict) else ():
        yield (*path, key)
        yield from places(one, (*path, key))


def changed(content: bytes, random: Random) -> bytes:
    """The JSON with another value at one place, or the bytes with a few others."""
    if random.random() < 0.3:
        letters = bytearray(content)
        for _ in range(3):
            letters[random.randrange(len(letters))] = random.randrange(32, 127)
        return bytes(letters[: random.choice([None, random.randrange(len(letters))])])
    values = json.loads(content)
    *path, last = random.choice(list(places(values)))
    inner = values
    for key in path:
        inner = inner[key]
    inner[last] = random.choice(VALUES)
    return json.dumps(values).encode()


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "config.json"])
def test_damaged_files_are_named(folder: Path, tmp_path: Path, name: str) -> None:
    random, messages = Random(0), []
    for _ in range(fuzz_cases(40)):
        damaged = copy(folder, tmp_path / "damaged")
        (damaged / name).write_bytes(changed((folder / name).read_bytes(), random))
        try:
            load_checkpoint(damaged, "cpu")
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 10
    assert all(str(damaged) in message and len(message) < 1000 for message in messages)


@pytest.mark.parametrize(
    ("word", "index", "message"),
    [
        ("b", 0, r"an id of its own, but \['a', 'b'\] have 0"),
        ("b", 70, "has ids up to 70, but the model has 5 words"),
    ],
)
def test_each_word_has_a_row_of_its_own(
    folder: Path, tmp_path: Path, word: str, index: int, message: str
) -> None:
    damaged = copy(folder, tmp_path / "damaged")
    settings = json.loads((damaged / "tokenizer.json").read_text())
    settings["model"]["vocab"][word] = index
    (damaged / "tokenizer.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=message):
        load_checkpoint(damaged, "cpu")


def test_a_tokenizer_without_its_unknown_word_is_an_error(folder: Path, tmp_path: Path) -> None:
    damaged = copy(folder, tmp_path / "damaged")
    settings = json.loads((damaged / "tokenizer.json").read_text())
    settings["model"]["unk_token"] = "<nothing>"
    (damaged / "tokenizer.json").write_text(json.dumps(settings))
    model, tokenizer = load_checkpoint(damaged, "cpu")
    assert encode(tokenizer, "a b\n").tolist() == [0, 1, 3]
    for use in (
        lambda: encode(tokenizer, "a z\n"),
        lambda: continue_prompt(model, tokenizer, "a z", Console(quiet=True), max_new_tokens=1),
    ):
        with pytest.raises(ValueError, match=r"cannot encode the text: WordLevel error: Missing"):
            use()


@pytest.mark.parametrize("cut", [0, 4, 20, 200, -3])
def test_damaged_weights_are_named(folder: Path, tmp_path: Path, cut: int) -> None:
    damaged = copy(folder, tmp_path / "damaged")
    file = damaged / "model.safetensors"
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(ValueError, match=r"checkpoint .*damaged"):
        load_checkpoint(damaged, "cpu")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vocab_size": 2**40}, "describes a model of 4398046511224 numbers, but its"),
        ({"vocab_size": 2**30}, "describes a model of 4294967416 numbers"),
        ({"embedding_size": 2**30}, "but its weights have 1"),
        ({"hidden_sizes": [2**20, 4]}, "but its weights have 1"),
        ({"hidden_sizes": [1] * 100_000}, "but its weights have 1"),
        ({"hidden_sizes": "x" * 10**6}, "hidden_sizes"),
        ({"vocab_size": "many"}, "vocab_size must be an integer"),
    ],
)
def test_a_model_of_absurd_size_is_refused_before_it_is_made(
    folder: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    damaged = copy(folder, tmp_path / "damaged")
    values = json.loads((folder / "config.json").read_text())
    (damaged / "config.json").write_text(json.dumps({**values, **changes}))
    with pytest.raises(ValueError, match=words) as caught:
        load_checkpoint(damaged, "cpu")
    assert len(str(caught.value)) < 1000


def test_nested_json_is_named(folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        damaged = copy(folder, tmp_path / "damaged")
        (damaged / name).write_text("[" * 100_000)
        with pytest.raises(ValueError, match="damaged"):
            load_checkpoint(damaged, "cpu")


def test_a_folder_without_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be loaded"):
        load_checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError, match="not found locally or on the Hub"):
        load_checkpoint(tmp_path / "absent")


def test_a_language_model_must_have_been_trained_as_one(folder: Path, tmp_path: Path) -> None:
    """transformers would draw the decoder of a classifier at random."""
    damaged = copy(folder, tmp_path / "damaged")
    config = EgruConfig(vocab_size=5, embedding_size=4, hidden_sizes=[4])
    EgruForSequenceClassification(config).save_pretrained(damaged)
    words = r"damaged cannot be loaded: .* EgruForCausalLM, got one without \['lm_head.bias'\]"
    with pytest.raises(ValueError, match=words):
        load_checkpoint(damaged, "cpu")


@pytest.mark.parametrize("name", ["absent", "user/absent", "a/b/c", "two words"])
def test_a_name_of_nothing_is_not_found(name: str) -> None:
    with pytest.raises(FileNotFoundError, match="not found locally or on the Hub"):
        load_checkpoint(name)


def test_a_stored_model_has_all_its_weights(folder: Path, tmp_path: Path) -> None:
    """Its matrices are no parameters, and its decoder is tied to the embedding."""
    model, tokenizer = load_checkpoint(folder, "cpu")
    for one in (quantize(model, "int8"), tokenizer):
        one.save_pretrained(tmp_path)
    ids = torch.tensor([[0, 1, 2]])
    assert torch.equal(load_checkpoint(tmp_path, "cpu")[0](ids).logits, model(ids).logits)


def test_a_classifier_must_have_been_trained_as_one(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"trained EgruForSeq.*got one without \['score.weight'\]"):
        load_classifier(folder)
    with pytest.raises(FileNotFoundError, match="absent not found"):
        load_classifier(tmp_path / "absent")
    config = EgruConfig(vocab_size=0, embedding_size=3, hidden_sizes=[4], tie_word_embeddings=False)
    EgruForSequenceClassification(config).save_pretrained(tmp_path)
    assert load_classifier(tmp_path, "cpu").score.weight.shape == (2, 4)
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="the weights cannot be read"):
        load_classifier(tmp_path)
