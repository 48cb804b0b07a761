"""Texts as token ids."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import PreTrainedTokenizerFast

from evenfall.errors import shorten_text


def encode(tokenizer: PreTrainedTokenizerFast, text: str) -> torch.Tensor:
    """Token ids of a whole text, (N,) int64, without special tokens added.

    Raises:
        ValueError: as `encoding`.
    """
    *lines, rest = text.split("\n")  # one huge string would be slow
    pieces = [f"{line}\n" for line in lines] + ([rest] if rest else [])
    with encoding():
        encodings = tokenizer.backend_tokenizer.encode_batch_fast(pieces, add_special_tokens=False)
    return torch.tensor([i for e in encodings for i in e.ids], dtype=torch.long)


@contextmanager
def encoding() -> Iterator[None]:
    """Turn the errors of a tokenizer into one.

    Raises:
        ValueError: it cannot encode the text: it has no id for a word and none for unknown words.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # tokenizers raises Exception itself, and panics
        reason = shorten_text(" ".join(str(error).split()), 300)
        raise ValueError(f"the tokenizer cannot encode the text: {reason}") from error
