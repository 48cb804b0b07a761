"""The files of a folder, a tar or a zip archive, read into memory: nothing is unpacked to disk."""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

LARGEST = 2**28
"""Bytes of one member; an archive that declares more is refused before it is unpacked."""


def read_files(path: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[PurePosixPath, bytes]]:
    """(name, contents) of every file under `path` whose name ends in one of `suffixes`.

    Args:
        path: a folder, a tar (packed or not) or a zip archive. Names are relative to it.
        suffixes: such as (".bs2", ".txt"); other files, links and devices are passed over.

    Raises:
        FileNotFoundError: no such path.
        ValueError: not an archive, a corrupt one, a name that leaves the archive, a file that is
            larger than `LARGEST`.
    """
    if path.is_dir():
        yield from _folder(path, suffixes)
    elif not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    elif zipfile.is_zipfile(path):
        yield from _guarded(path, _zip(path, suffixes))
    else:
        yield from _guarded(path, _tar(path, suffixes))


def _folder(path: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[PurePosixPath, bytes]]:
    for file in sorted(path.rglob("*")):
        if file.name.endswith(suffixes) and file.is_file():
            yield PurePosixPath(file.relative_to(path).as_posix()), file.read_bytes()


def _tar(path: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[PurePosixPath, bytes]]:
    with tarfile.open(path, "r:*") as archive:
        for member in archive:
            if member.isfile() and member.name.endswith(suffixes):
                name = _checked(path, member.name, member.size)
                if (file := archive.extractfile(member)) is not None:
                    yield name, file.read()


def _zip(path: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[PurePosixPath, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.is_dir() and member.filename.endswith(suffixes):
                name = _checked(path, member.filename, member.file_size)
                yield name, archive.read(member)


def _checked(path: Path, name: str, size: int) -> PurePosixPath:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts:
        raise ValueError(f"{path} holds a file outside itself: {name!r}")
    if size > LARGEST:
        raise ValueError(f"{name} in {path} must have at most {LARGEST} bytes, got {size}")
    return pure


def _guarded(
    path: Path, files: Iterator[tuple[PurePosixPath, bytes]]
) -> Iterator[tuple[PurePosixPath, bytes]]:
    """The same files, with one kind of error for every way an archive can be corrupt."""
    try:
        yield from files
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise ValueError(
            f"{path} is not a tar or zip archive, or a corrupt one: {error}"
        ) from error
