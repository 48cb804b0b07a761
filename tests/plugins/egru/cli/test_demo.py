"""The parts of the demo: text, greedy loop, speed comparison and streamer."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console
from transformers import PreTrainedTokenizerBase

from evenfall.corpora import read_split
from evenfall_egru import EgruConfig, EgruForCausalLM
from evenfall_egru.generation.speed import compare
from evenfall_egru.generation.streaming import ConsoleStreamer, greedy_loop
from evenfall_egru.generation.writing import continue_prompt, unknown_words
from evenfall_egru.text.demo_text import DEMO_TEXT
from evenfall_egru.text.encoding import encode
from evenfall_egru.text.tokenization import byte_tokenizer, vocabulary, word_tokenizer


def _model(vocab: int) -> EgruForCausalLM:
    torch.manual_seed(1)
    config = EgruConfig(vocab_size=vocab, embedding_size=8, hidden_sizes=[16, 8])
    return EgruForCausalLM(config).eval()


def test_demo_text_is_lower_case_with_numbers_as_n() -> None:
    words = DEMO_TEXT.split()
    assert len(words) > 1000
    assert all(word == "N" or word == word.lower() for word in words)
    assert len(DEMO_TEXT.splitlines()) > 50


def test_demo_text_is_within_the_vocabulary(data_dir: Path) -> None:
    tokenizer = word_tokenizer(vocabulary([read_split(data_dir / "ptb", "train")]))
    ids = encode(tokenizer, DEMO_TEXT)
    unknown = (ids == tokenizer.unk_token_id).float().mean()
    assert 0 < unknown < 0.08


def test_greedy_loop_agrees_with_generate() -> None:
    model = _model(30)
    prompt = torch.tensor([[3, 1, 4]])
    ids, seconds = greedy_loop(model, prompt, 8)
    whole = model.generate(prompt, max_new_tokens=8, do_sample=False, pad_token_id=0)
    assert ids == whole[0, 3:].tolist()
    assert seconds > 0


def test_compare_leaves_the_configuration_and_times_both_ways() -> None:
    model = _model(30)
    speed = compare(model, torch.tensor([[3, 1, 4]]), tokens=4, rounds=1)
    assert speed.dense > 0
    assert speed.event_driven > 0
    assert speed.same
    assert model.config.event_driven


def _stream(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    buffer = io.StringIO()
    streamer = ConsoleStreamer(tokenizer, Console(file=buffer, width=200))
    for token in ids:
        streamer.put(torch.tensor([token]))
    streamer.end()
    return buffer.getvalue()


@pytest.mark.parametrize("text", ["the cat sat\nthe mat sat\n", "the mat"])
def test_streams_words_with_line_breaks(text: str) -> None:
    tokenizer = word_tokenizer(vocabulary(["the cat sat\nthe mat sat\n"]))
    assert _stream(tokenizer, tokenizer(text).input_ids) == text + "\n"


def test_streams_whole_characters_of_a_byte_tokenizer() -> None:
    tokenizer = byte_tokenizer()
    assert _stream(tokenizer, tokenizer("naïve €").input_ids) == "naïve €\n"


def test_writes_past_line_ends_and_never_unknown() -> None:
    tokenizer = word_tokenizer(vocabulary(["a b <unk>\n"]))
    model = _model(len(tokenizer))
    console = Console(file=io.StringIO())
    ids = continue_prompt(model, tokenizer, "a b", console, max_new_tokens=60, temperature=5.0)
    assert len(ids) == 62
    assert tokenizer.unk_token_id not in ids[2:]
    assert tokenizer.eos_token_id in ids[2:-1]
    assert (
        continue_prompt(model, tokenizer, "a b", console, max_new_tokens=60, temperature=5.0) == ids
    )
    assert (
        continue_prompt(model, tokenizer, " ", console, max_new_tokens=2)[0]
        == tokenizer.eos_token_id
    )


def test_unknown_words_are_named() -> None:
    tokenizer = word_tokenizer(vocabulary(["a b <unk>\n"]))
    assert unknown_words(tokenizer, "a The b zebra") == ["The", "zebra"]
    assert unknown_words(byte_tokenizer(), "anything") == []
