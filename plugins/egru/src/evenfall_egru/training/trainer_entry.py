"""The registered trainer "egru": this module is an `evenfall.trainers.Trainer`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..evaluation import evaluate_tokens
from ..loading import load_checkpoint
from ..text.corpus import encode, read_split
from .recipe import Recipe, load_recipe
from .run import train

__all__ = ["Recipe", "evaluate", "load_recipe", "train"]


def evaluate(folder: str | Path, data: str | Path, split: str) -> dict[str, Any]:
    """Perplexity, activity and operation counts on a whole split, with full carry.

    Args:
        folder: a language model and its tokenizer, such as a run's best/.
        data: folder or zip archive with a text for the split.
        split: "train", "valid" or "test".

    Raises:
        FileNotFoundError: the model, the data or the split is not found.
        ValueError: the model cannot be read, or the text is too short.
    """
    model, tokenizer = load_checkpoint(folder)
    return evaluate_tokens(model, encode(tokenizer, read_split(data, split)))
