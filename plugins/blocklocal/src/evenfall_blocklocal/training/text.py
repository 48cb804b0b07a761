"""Text for language models: the words of a corpus, in windows.

A split is the one file whose name has the split as a word, such as ptb.train.txt, in a folder or in
the only zip archive of it. Words are split at white space, and every line ends with <eos>. The
vocabulary is that of the training split; other words are <unk>.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from evenfall.errors import shorten
from evenfall.reading import read_member, reading

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

    def batch(self, part: Part, rows: Tensor) -> Batch:
        places = rows.unsqueeze(1) * self.window + torch.arange(self.window + 1)
        tokens = self.tokens[part][places]
        return Batch((), {"input_ids": tokens, "labels": tokens, "use_cache": False}, tokens)

    def example(self) -> dict[str, object]:
        return {"input_ids": self.tokens["train"][: self.window].repeat(2, 1), "use_cache": False}


def _words(path: Path, split: str) -> list[str]:
    lines = _read(path, split).splitlines()
    return [word for line in lines for word in (*line.split(), END)]


def _read(path: Path, split: str) -> str:
    if not path.exists():
        raise FileNotFoundError(f"data: {path} does not exist")
    archives = [path] if path.is_file() else sorted(path.glob("*.zip"))
    names = [one.name for one in sorted(path.iterdir())] if path.is_dir() else []
    found = [name for name in names if _is_of(name, split)]
    if not found and len(archives) == 1:
        with reading(archives[0], "data:"), zipfile.ZipFile(archives[0]) as archive:
            names = archive.namelist()
            found = [name for name in names if _is_of(name, split)]
            if len(found) == 1:
                return read_member(archive, found[0], archives[0], "data:").decode("utf-8")
    if not found:
        raise FileNotFoundError(
            f"data: {path} has no text of split {shorten(split)}, such as {split}.txt"
        )
    if len(found) > 1:
        raise ValueError(f"data: {path} has several texts of {shorten(split)}: {shorten(found)}")
    with reading(path / found[0], "data:"):
        return (path / found[0]).read_text("utf-8")


def _is_of(name: str, split: str) -> bool:
    file = PurePosixPath(name)
    hidden = file.name.startswith(".") or "__MACOSX" in file.parts
    return file.suffix == ".txt" and not hidden and split in re.findall("[a-z]+", file.name.lower())
