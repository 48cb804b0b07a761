"""Decoded text can be appended to the text before it, as transformers' tools do."""

from __future__ import annotations

import io

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from rich.console import Console
from transformers import PreTrainedTokenizerBase, TextIteratorStreamer, pipeline

from evenfall_egru import EgruConfig, EgruForCausalLM
from evenfall_egru.generation.streaming import ConsoleStreamer, as_text
from evenfall_egru.generation.writing import continue_prompt
from evenfall_egru.text.tokenization import byte_tokenizer, vocabulary, word_tokenizer

TEXT = "the cat sat on a mat and the dog saw it\n"
PROMPT = "the cat sat"


@pytest.fixture(scope="module")
def words() -> PreTrainedTokenizerBase:
    return word_tokenizer(vocabulary([TEXT]))


@pytest.fixture(scope="module")
def model(words: PreTrainedTokenizerBase) -> EgruForCausalLM:
    torch.manual_seed(0)
    config = EgruConfig(vocab_size=len(words), embedding_size=8, hidden_sizes=[12, 8])
    return EgruForCausalLM(config).eval()


def new_words(model: EgruForCausalLM, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    prompt = tokenizer(PROMPT, return_tensors="pt")
    ids = model.generate(**prompt, max_new_tokens=5, do_sample=False)[0, 3:]
    return tokenizer.convert_ids_to_tokens(ids)


def test_a_pipeline_separates_prompt_and_continuation(
    model: EgruForCausalLM, words: PreTrainedTokenizerBase
) -> None:
    generate = pipeline("text-generation", model=model, tokenizer=words)
    expected = [w for w in new_words(model, words) if w != "<eos>"]
    options = {"max_new_tokens": 5, "do_sample": False}
    text = generate(PROMPT, **options)[0]["generated_text"]
    assert text.split(" ") == [*PROMPT.split(" "), *expected]
    part = generate(PROMPT, return_full_text=False, **options)[0]["generated_text"]
    assert PROMPT + part == text


def test_a_streamer_separates_words(model: EgruForCausalLM, words: PreTrainedTokenizerBase) -> None:
    streamer = TextIteratorStreamer(words, skip_prompt=True)
    prompt = words(PROMPT, return_tensors="pt")
    model.generate(**prompt, max_new_tokens=5, do_sample=False, streamer=streamer)
    assert "".join(streamer).split() == new_words(model, words)


def test_a_stop_string_ends_the_text(
    model: EgruForCausalLM, words: PreTrainedTokenizerBase
) -> None:
    first, second, *_ = new_words(model, words)
    prompt = words(PROMPT, return_tensors="pt")
    out = model.generate(
        **prompt, max_new_tokens=5, do_sample=False, tokenizer=words,
        stop_strings=[f"{first} {second}"],
    )  # fmt: skip
    assert words.convert_ids_to_tokens(out[0, 3:]) == [first, second]


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("kind", ["words", "bytes"])
def test_the_texts_of_two_parts_are_the_text_of_the_whole(
    words: PreTrainedTokenizerBase, kind: str, skip: bool
) -> None:
    tokenizer = words if kind == "words" else byte_tokenizer()
    ids = tokenizer(f"{TEXT} it saw\nthe mat").input_ids
    whole = tokenizer.decode(ids, skip_special_tokens=skip)
    for n in range(len(ids) + 1):
        parts = ids[:n], ids[n:]
        texts = [tokenizer.decode(part, skip_special_tokens=skip) for part in parts]
        assert "".join(texts) == whole
    if not skip:
        assert tokenizer(whole).input_ids == ids


def printed(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    console = Console(file=io.StringIO(), width=200)
    streamer = ConsoleStreamer(tokenizer, console)
    for one in ids:
        streamer.put(torch.tensor([one]))
    streamer.end()
    return console.file.getvalue()


def test_a_streamer_prints_every_byte() -> None:
    """Also spaces beside a line break, and a character of which the end is missing."""
    tokenizer = byte_tokenizer()
    ids = [*tokenizer("so ").input_ids, tokenizer.eos_token_id, *tokenizer(" it is é").input_ids]
    assert printed(tokenizer, ids) == "so \n it is é\n"
    assert printed(tokenizer, ids[:-1]) == "so \n it is \N{REPLACEMENT CHARACTER}\n"


def test_an_empty_prompt_needs_a_token_to_begin_with(model: EgruForCausalLM) -> None:
    tokenizer = word_tokenizer(vocabulary([TEXT]))
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match=r"prompt must have a token, got ' ': .* no eos_token"):
        continue_prompt(model, tokenizer, " ", Console(quiet=True), max_new_tokens=1)


def test_printed_text_does_not_begin_with_the_space_of_its_first_word(
    words: PreTrainedTokenizerBase,
) -> None:
    assert as_text(words, words("the cat\nsat").input_ids) == "the cat\nsat"
    assert as_text(byte_tokenizer(), byte_tokenizer()(" a").input_ids) == " a"
