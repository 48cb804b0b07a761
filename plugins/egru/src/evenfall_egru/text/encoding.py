"""Texts as token ids."""

from __future__ import annotations

import torch
from transformers import PreTrainedTokenizerFast

from evenfall.tokenizing import encoding


def encode(tokenizer: PreTrainedTokenizerFast, text: str) -> torch.Tensor:
    """Token ids of a whole text, (N,) int64, without special tokens added.

    Raises:
        ValueError: as `evenfall.tokenizing.encoding`.
    """
    *lines, rest = text.split("\n")  # one huge string would be slow
    pieces = [f"{line}\n" for line in lines] + ([rest] if rest else [])
    with encoding():
        encodings = tokenizer.backend_tokenizer.encode_batch_fast(pieces, add_special_tokens=False)
    return torch.tensor([i for e in encodings for i in e.ids], dtype=torch.long)
