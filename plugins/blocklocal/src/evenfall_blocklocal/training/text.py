"""Text for language models: the words of a corpus, in windows.

Splits are found as `evenfall.corpora.read_split` does. Words are split at white space, and every
line ends with <eos>. The vocabulary is that of the training split; other words are <unk>.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from evenfall.corpora import read_split
from evenfall.errors import shorten

from .source import Batch, Part, Source

END, UNKNOWN = "<eos>", "<unk>"


class TextSource(Source):
    """Windows of T + 1 tokens that overlap by one, so that a causal model predicts each token after
    the first one once. No state passes from window to window.

    Args:
        path: a folder or zip archive with the two texts.
        splits: their names, for training and test.
        window: T.

    Raises:
        FileNotFoundError: a split is missing.
        ValueError: a text is damaged or has no whole window.
    """

    def __init__(self, path: str | Path, splits: tuple[str, str], window: int) -> None:
        words = [_words(Path(path), split) for split in splits]
        known = {word: number for number, word in enumerate(dict.fromkeys([UNKNOWN, *words[0]]))}
        self.tokens = {
            part: torch.tensor([known.get(word, 0) for word in text])
            for part, text in zip(("train", "test"), words, strict=True)
        }
        self.window = window
        sizes = {part: (len(tokens) - 1) // window for part, tokens in self.tokens.items()}
        for split, size in zip(splits, sizes.values(), strict=True):
            if not size:
                raise ValueError(f"split {shorten(split)} has no window of {window} + 1 tokens")
        super().__init__(sizes, len(known), "perplexity")

    def read(self, part: Part, rows: Tensor) -> Batch:
        places = rows.unsqueeze(1) * self.window + torch.arange(self.window + 1)
        tokens = self.tokens[part][places]
        return Batch((), {"input_ids": tokens, "labels": tokens, "use_cache": False}, tokens)

    def example(self) -> dict[str, object]:
        return {"input_ids": self.tokens["train"][: self.window].repeat(2, 1), "use_cache": False}


def _words(path: Path, split: str) -> list[str]:
    lines = read_split(path, split).removesuffix("\n").split("\n")
    return [word for line in lines for word in (*line.split(), END)]
