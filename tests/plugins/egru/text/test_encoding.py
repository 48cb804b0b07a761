"""Texts as token ids."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from evenfall_egru.text.encoding import encode
from evenfall_egru.text.tokenization import byte_tokenizer, vocabulary, word_tokenizer


def test_encoded_text_is_one_stream_with_line_ends() -> None:
    text = " a b \n\n b a \n c\n"
    tokenizer = word_tokenizer(vocabulary([text]))
    ids = encode(tokenizer, text)
    assert ids.dtype.is_signed
    assert ids.ndim == 1
    assert tokenizer.convert_ids_to_tokens(ids.tolist()) == [
        "a", "b", "<eos>", "<eos>", "b", "a", "<eos>", "c", "<eos>",
    ]  # fmt: skip


def test_encoded_bytes_are_those_of_the_lines() -> None:
    tokenizer = byte_tokenizer()
    for text in ("größe\nab\n", "\tint x;\r\n  \x0cno end", "\n\n", ""):
        assert tokenizer.decode(encode(tokenizer, text).tolist()) == text
