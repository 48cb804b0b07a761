"""Texts in folders and archives, and errors that name what is missing."""

from __future__ import annotations

import contextlib
import gzip
import zipfile
from pathlib import Path
from random import Random

import pytest

from evenfall.corpora import read_split
from evenfall.testing.damage import fuzz_cases

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
    with pytest.raises(FileNotFoundError, match=r"such as valid.txt; it has \['a.train.txt'\]"):
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


def test_a_missing_last_line_break_is_added(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("one\ntwo")
    assert read_split(tmp_path, "train") == "one\ntwo\n"


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("wiki.train.tokens", "train"),
        ("wiki.valid.raw", "valid"),
        ("ptb.train.txt", "train"),
        ("latest.train.txt", "train"),
        ("contest_valid.txt", "valid"),
        ("text8-validation.txt", "valid"),
        ("Dev.TXT", "valid"),
        ("train1.txt", "train"),
        ("wiki.test.raw.gz", "test"),
        ("latest.txt", None),
        ("retrained.txt", None),
        ("wiki.train.md", None),
        ("._train.txt", None),
    ],
)
def test_the_split_is_a_word_of_the_name(tmp_path: Path, name: str, split: str | None) -> None:
    content = b"one\n"
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    for other in TEXTS:
        if other == split:
            assert read_split(tmp_path, other) == "one\n"
        else:
            with pytest.raises(FileNotFoundError, match=f"no text file for '{other}'"):
                read_split(tmp_path, other)


def test_texts_beside_an_archive_are_read_first(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("one\n")
    with zipfile.ZipFile(tmp_path / "old.zip", "w") as archive:
        archive.writestr("train.txt", "two\n")
        archive.writestr("valid.txt", "three\n")
    assert read_split(tmp_path, "train") == "one\n"
    assert read_split(tmp_path, "valid") == "three\n"


def test_a_byte_order_mark_is_no_word(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("one two\n", encoding="utf-8-sig")
    assert read_split(tmp_path, "train") == "one two\n"


@pytest.mark.parametrize("content", [b"", b" \n \n", "\ufeff".encode()])
def test_a_text_of_nothing_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "valid.txt").write_bytes(content)
    with pytest.raises(ValueError, match=r"valid\.txt has no text"):
        read_split(tmp_path, "valid")


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_damaged_and_huge_gzip_files_are_named(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def message(content: bytes) -> str:
        if form == "folder":
            (tmp_path / "train.txt.gz").write_bytes(content)
        else:
            with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
                archive.writestr("train.txt.gz", content)
        with pytest.raises(ValueError, match=r"train\.txt\.gz cannot be read") as caught:
            read_split(tmp_path, "train")
        return str(caught.value)

    packed = gzip.compress(b"some words\n" * 1000)
    assert "truncated" in message(packed[:-9])
    assert "damaged" in message(packed[:40] + b"\xff" * 8 + packed[48:])
    message(b"no gzip")
    monkeypatch.setattr("evenfall.reading.LARGEST", 10_000)
    assert "unpacks to more than 10,000 bytes" in message(packed)


def test_damaged_archives_are_named(tmp_path: Path) -> None:
    file = tmp_path / "data.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train.txt", "some words\n" * 100)
    whole = file.read_bytes()
    for content in (whole[:-30], b"", whole[:40] + b"\xff" * 8 + whole[48:]):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"data: .*data\.zip cannot be read"):
            read_split(tmp_path, "train")


def test_damaged_archives_raise_no_other_errors(tmp_path: Path) -> None:
    """200 archives with random changes, and 200 gzip files."""
    random = Random(0)
    for name, inside in (("data.zip", True), ("train.txt.gz", False)):
        file = tmp_path / name
        if inside:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("train.txt", "some words\n" * 20)
        else:
            file.write_bytes(gzip.compress(b"some words\n" * 20))
        whole = file.read_bytes()
        for _ in range(fuzz_cases(200)):
            content = bytearray(whole)
            for _ in range(random.randint(1, 4)):
                content[random.randrange(len(content))] = random.randrange(256)
            file.write_bytes(content[: random.choice([None, random.randrange(len(content))])])
            with contextlib.suppress(ValueError, FileNotFoundError):
                read_split(tmp_path, "train")
        file.unlink()
