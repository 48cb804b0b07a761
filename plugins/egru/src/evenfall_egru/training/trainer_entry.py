"""The registered trainer "egru": this module is an `evenfall.trainers.Trainer`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evenfall.corpora import read_split

from ..evaluation import evaluate_tokens
from ..loading import load_checkpoint
from ..models.modeling_egru import EgruForCausalLM
from ..text.encoding import encode
from .recipe import Recipe, load_recipe
from .run import train

__all__ = ["Recipe", "evaluate", "load_example", "load_recipe", "train"]

EXAMPLE_TOKENS = 4096


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


def load_example(
    folder: str | Path, data: str | Path, split: str
) -> tuple[EgruForCausalLM, dict[str, Any]]:
    """The model, and the first tokens of a split as one sequence.

    Args:
        folder, data, split: as `evaluate`.

    Raises:
        FileNotFoundError, ValueError: as `evaluate`.
    """
    model, tokenizer = load_checkpoint(folder, "cpu")
    tokens = encode(tokenizer, read_split(data, split))[:EXAMPLE_TOKENS]
    return model, {"input_ids": tokens[None], "use_cache": False}
