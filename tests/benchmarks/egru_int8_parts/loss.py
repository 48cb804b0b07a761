"""Perplexity on Penn Treebank."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from egru_int8_parts.forms import CARD
from transformers import AutoTokenizer

from evenfall.corpora import read_split
from evenfall_egru import EgruForCausalLM
from evenfall_egru.evaluation.perplexity import evaluate_tokens
from evenfall_egru.text.encoding import encode

WINDOW, TESTED = 256, ("float32", "int8")


def loss(folders: dict[str, Path], data: Path) -> Iterator[dict[str, Any]]:
    tokenizer = AutoTokenizer.from_pretrained(CARD)
    texts = {
        split: encode(tokenizer, read_split(data / "ptb", split)) for split in ("valid", "test")
    }
    for form, folder in folders.items():
        model = EgruForCausalLM.from_pretrained(folder)
        valid = evaluate_tokens(model, texts["valid"], window=WINDOW)
        row = {
            "part": "loss", "weights": form, "valid": valid["perplexity"],
            "activity": valid["mean_activity"], "tokens": valid["tokens"],
        }  # fmt: skip
        if form in TESTED:
            row["test"] = evaluate_tokens(model, texts["test"], window=WINDOW)["perplexity"]
        yield row
