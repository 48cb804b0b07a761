"""Word and byte tokenizers."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from evenfall_egru.text.tokenization import byte_tokenizer, vocabulary, word_tokenizer

TEXT = " the cat <unk> the dog \n a cat \n"


def test_vocabulary_is_in_order_of_first_occurrence() -> None:
    words = vocabulary([TEXT, " a bird \n"])
    assert list(words) == ["the", "cat", "<unk>", "dog", "<eos>", "a", "bird"]
    assert list(words.values()) == list(range(7))


@pytest.mark.parametrize("texts", [[], [""], [" \n \n"]])
def test_a_vocabulary_of_nothing_is_refused(texts: list[str]) -> None:
    with pytest.raises(ValueError, match="texts must contain at least one word"):
        vocabulary(texts)


def test_words_and_line_ends() -> None:
    tokenizer = word_tokenizer(vocabulary([TEXT]))
    assert tokenizer(TEXT)["input_ids"] == [0, 1, 2, 0, 3, 4, 5, 1, 4]
    assert tokenizer("the\r\ndog")["input_ids"] == [0, 4, 3]
    assert tokenizer(" the  dog ")["input_ids"] == [0, 3]


def test_an_unknown_word_is_unk() -> None:
    tokenizer = word_tokenizer(vocabulary([TEXT]))
    assert tokenizer("the zebra dog")["input_ids"] == [0, 2, 3]
    assert tokenizer.unk_token_id == 2
    assert tokenizer.eos_token_id == 4
    without = word_tokenizer({"a": 0, "<eos>": 1})
    assert len(without) == 3
    assert without("zebra")["input_ids"] == [2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"a": 0, "<eos>": 2}, r"numbered 0 to 1 without gaps, got"),
        ({"a": 0}, "must contain '<eos>'"),
    ],
)
def test_words_that_cannot_be_ids_are_refused(words: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        word_tokenizer(words)


def test_word_tokenizer_survives_a_file(tmp_path: Path) -> None:
    tokenizer = word_tokenizer(vocabulary([TEXT]))
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert loaded(TEXT)["input_ids"] == tokenizer(TEXT)["input_ids"]
    assert loaded.decode([0, 1, 5]) == " the cat a"
    assert loaded.padding_side == "left"
    assert loaded.eos_token == "<eos>"


def test_byte_tokenizer_survives_a_file(tmp_path: Path) -> None:
    byte_tokenizer().save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = "naïve  Ωμέγα\t🦋\r\n"
    assert loaded(text)["input_ids"] == byte_tokenizer()(text)["input_ids"]
    assert loaded.decode(loaded(text)["input_ids"]) == text


BYTES = byte_tokenizer()


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_bytes_lose_nothing(text: str) -> None:
    ids = BYTES(text)["input_ids"]
    assert BYTES.decode(ids) == text
    assert len(ids) == len(text.encode("utf-8")) or "<eos>" in text
    assert all(0 <= i < 257 for i in ids)


def test_every_byte_has_its_id() -> None:
    assert len(BYTES) == 257
    assert BYTES.eos_token_id == 256
    assert len({BYTES(chr(i))["input_ids"][0] for i in range(128)}) == 128


@pytest.mark.parametrize("name", ["word", "byte"])
def test_batches_are_padded_on_the_left(name: str) -> None:
    tokenizer = byte_tokenizer() if name == "byte" else word_tokenizer(vocabulary([TEXT]))
    batch = tokenizer(["a", "the cat"], padding=True)
    shorter, longer = batch["input_ids"]
    assert len(shorter) == len(longer)
    assert shorter[0] == tokenizer.pad_token_id
    assert shorter[-1] == tokenizer("a")["input_ids"][0]
    assert batch["attention_mask"][0] == [0] * (len(longer) - 1) + [1]
    assert set(batch) == {"input_ids", "attention_mask"}
