"""Text from the command line as the inputs of a language model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evenfall.corpora import decode
from evenfall.errors import shorten
from evenfall.tokenizing import encoding


def read_prompt(text: str, others: tuple[Any, ...]) -> tuple[Any, Any]:
    """The tokenizer of a checkpoint and the ids of a text, (1, N).

    Args:
        text: the text.
        others: what was loaded beside the model.

    Raises:
        ValueError: the checkpoint has no tokenizer, or one that cannot encode the text, or the text
            has no tokens.
    """
    tokenizer = next((one for one in others if callable(one)), None)
    if tokenizer is None:
        raise ValueError("the checkpoint has no tokenizer, so it cannot read text")
    with encoding():
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
    if not ids.numel():
        raise ValueError(f"text {shorten(text)} has no tokens")
    return tokenizer, ids


def read_text(path: Path, others: tuple[Any, ...], tokens: int) -> Any:
    """The ids of the first tokens of a text file, (1, N).

    Args:
        path: the file.
        others: what was loaded beside the model.
        tokens: how many at most.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as `read_prompt`, or the file is no text.
    """
    if not path.is_file():
        raise FileNotFoundError(f"text {path} not found")
    return read_prompt(decode(path.read_bytes(), f"text {path}"), others)[1][:, :tokens]
