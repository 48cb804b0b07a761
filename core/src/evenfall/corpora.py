"""Text corpora: train, valid and test from a folder or a zip archive, plain or gzipped."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path, PurePosixPath

from .errors import shorten
from .reading import read_member, reading, unzip

SPLITS = ("train", "valid", "test")
_SPLIT_OF = {
    "train": "train", "training": "train",
    "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid",
    "test": "test",
}  # fmt: skip
_ENDINGS = (".txt", ".tokens", ".raw")
_TEXT = re.compile(rf".*({'|'.join(map(re.escape, _ENDINGS))})(\.gz)?", re.IGNORECASE)


def read_split(path: str | Path, split: str) -> str:
    """The text of one split, from the only text file with the split as a word of its name.

    Text files end in .txt, .tokens or .raw, or in one of these and .gz: ptb.train.txt,
    wiki.valid.tokens, test.txt.gz. Of several splits in a name, the last one counts. `validation`,
    `val` and `dev` are other words for `valid`, `training` for `train`. A line break is added if
    the last line has none; a byte order mark is removed.

    Args:
        path: a folder, a .zip archive, or a folder with a single archive.
        split: "train", "valid" or "test".

    Raises:
        FileNotFoundError: no such folder, archive or split.
        ValueError: several files match, the file is damaged or too large, or its content is not
            UTF-8 or is empty.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"data: {path} does not exist")
    names = _names(path)
    matches = [name for name in names if _split_of(name) == split]
    archives = sorted(path.glob("*.zip")) if path.is_dir() and not matches else []
    if len(archives) == 1:
        path = archives[0]
        names = _names(path)
        matches = [name for name in names if _split_of(name) == split]
    if not matches:
        raise FileNotFoundError(
            f"data: {path} has no text file for {shorten(split)}, such as {split}.txt; it has "
            f"{shorten(names)}"
        )
    if len(matches) > 1:
        raise ValueError(
            f"data: {path} has several files for {shorten(split)}: {shorten(matches)}; want one"
        )
    content = _read(path, matches[0])
    if matches[0].lower().endswith(".gz"):
        content = unzip(content, path / matches[0], "data:")
    text = decode(content, f"data: {matches[0]}")
    if not text.strip():
        raise ValueError(f"data: {path / matches[0]} has no text")
    return text if text.endswith("\n") else text + "\n"


def decode(content: bytes, what: str) -> str:
    """UTF-8 text, without a byte order mark.

    Raises:
        ValueError: not UTF-8; the message begins with `what`.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{what} is not UTF-8 text: {error}") from None


def _split_of(name: str) -> str | None:
    """The split of a file: the last word of its name that is one."""
    words = re.findall("[a-z]+", PurePosixPath(name).name.lower())
    splits = [_SPLIT_OF[word] for word in words if word in _SPLIT_OF]
    return splits[-1] if splits else None


def _names(path: Path) -> list[str]:
    if path.is_dir():
        names = [p.name for p in sorted(path.iterdir()) if p.is_file()]
    else:
        with reading(path, "data:"), zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    texts = [name for name in names if _TEXT.fullmatch(PurePosixPath(name).name)]
    return [
        name
        for name in texts
        if "__MACOSX" not in name and not PurePosixPath(name).name.startswith(".")
    ]


def _read(path: Path, name: str) -> bytes:
    if path.is_dir():
        return (path / name).read_bytes()
    with reading(path, "data:"), zipfile.ZipFile(path) as archive:
        return read_member(archive, name, path, "data:")
