"""Text corpora: train, valid and test from a folder or a zip archive, plain or gzipped."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path, PurePosixPath

import torch
from transformers import PreTrainedTokenizerFast

SPLITS = ("train", "valid", "test")


def read_split(path: str | Path, split: str) -> str:
    """The text of one split, from the only .txt or .txt.gz file with the split in its name.

    A line break is added if the last line has none.

    Args:
        path: a folder, a .zip archive, or a folder with a single archive.
        split: "train", "valid" or "test".

    Raises:
        FileNotFoundError: no such folder, archive or split.
        ValueError: several files match, or the text is not UTF-8.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"data: {path} does not exist")
    if path.is_dir():
        archives = sorted(path.glob("*.zip"))
        if len(archives) == 1:
            path = archives[0]
    names = _names(path)
    matches = [n for n in names if split in PurePosixPath(n).name]
    if not matches:
        raise FileNotFoundError(f"data: {path} has no text file for {split!r}; it has {names}")
    if len(matches) > 1:
        raise ValueError(f"data: {path} has several files for {split!r}: {matches}; want one")
    content = _read(path, matches[0])
    if matches[0].endswith(".gz"):
        content = gzip.decompress(content)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"data: {matches[0]} is not UTF-8 text: {error}") from None
    return text if text.endswith("\n") else text + "\n"


def _names(path: Path) -> list[str]:
    if path.is_dir():
        names = [p.name for p in sorted(path.iterdir())]
    else:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    return [n for n in names if n.endswith((".txt", ".txt.gz")) and "__MACOSX" not in n]


def _read(path: Path, name: str) -> bytes:
    if path.is_dir():
        return (path / name).read_bytes()
    with zipfile.ZipFile(path) as archive:
        return archive.read(name)


def encode(tokenizer: PreTrainedTokenizerFast, text: str) -> torch.Tensor:
    """Token ids of a whole text, (N,) int64, without special tokens added."""
    *lines, rest = text.split("\n")  # one huge string would be slow
    pieces = [f"{line}\n" for line in lines] + ([rest] if rest else [])
    encodings = tokenizer.backend_tokenizer.encode_batch_fast(pieces, add_special_tokens=False)
    return torch.tensor([i for e in encodings for i in e.ids], dtype=torch.long)
