"""Texts in folders and archives, and errors that name what is missing."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("torch")

from evenfall_egru.text.corpus import encode, read_split
from evenfall_egru.text.tokenization import byte_tokenizer, vocabulary, word_tokenizer

TEXTS = {"train": "größe one\n", "valid": "two\n", "test": "three\n"}


@pytest.fixture(params=["folder", "gz", "zip", "zip in a folder", "gz in a zip"])
def data(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The same three texts in every supported form."""
    folder, form = tmp_path / "data", request.param
    folder.mkdir()
    files = {f"ptb.{split}.txt": text.encode() for split, text in TEXTS.items()}
    if "gz" in form:
        files = {f"{name}.gz": gzip.compress(content) for name, content in files.items()}
    if "zip" not in form:
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return folder
    with zipfile.ZipFile(folder / "data.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(f"train_and_more/{name}", content)
            archive.writestr(f"__MACOSX/train_and_more/._{name}", b"\x00")
    return folder if form == "zip in a folder" else folder / "data.zip"


@pytest.mark.parametrize("split", list(TEXTS))
def test_each_split_is_found(data: Path, split: str) -> None:
    assert read_split(data, split) == TEXTS[split]


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"data: .*nowhere does not exist"):
        read_split(tmp_path / "nowhere", "train")


def test_a_missing_split_is_named_with_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "a.train.txt").write_text("one")
    (tmp_path / "valid.md").write_text("no text file")
    with pytest.raises(FileNotFoundError, match=r"'valid'; it has \['a.train.txt'\]"):
        read_split(tmp_path, "valid")


def test_two_files_for_a_split_are_named(tmp_path: Path) -> None:
    for name in ("a.train.txt", "b.train.txt"):
        (tmp_path / name).write_text("one")
    with pytest.raises(
        ValueError, match=r"several files for 'train': \['a.train.txt', 'b.train.txt'\]; want one"
    ):
        read_split(tmp_path, "train")


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_bytes("größe".encode("latin-1"))
    with pytest.raises(ValueError, match=r"train\.txt is not UTF-8 text"):
        read_split(tmp_path, "train")


def test_encoded_text_is_one_stream_with_line_ends() -> None:
    text = " a b \n\n b a \n c\n"
    tokenizer = word_tokenizer(vocabulary([text]))
    ids = encode(tokenizer, text)
    assert ids.dtype.is_signed
    assert ids.ndim == 1
    assert tokenizer.convert_ids_to_tokens(ids.tolist()) == [
        "a", "b", "<eos>", "<eos>", "b", "a", "<eos>", "c", "<eos>",
    ]  # fmt: skip


def test_encoded_bytes_are_those_of_the_lines() -> None:
    tokenizer = byte_tokenizer()
    for text in ("größe\nab\n", "\tint x;\r\n  \x0cno end", "\n\n", ""):
        assert tokenizer.decode(encode(tokenizer, text).tolist()) == text


def test_a_missing_last_line_break_is_added(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("one\ntwo")
    assert read_split(tmp_path, "train") == "one\ntwo\n"
