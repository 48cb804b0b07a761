"""Read the files of a folder, a tar or a zip archive into memory, without unpacking to disk."""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

LARGEST = 2**28
"""Most bytes of one file; an archive that declares more is refused before unpacking."""


def read_files(path: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[PurePosixPath, bytes]]:
    """(name, contents) of every file under `path` whose name ends in one of `suffixes`.

    Args:
        path: a folder, a tar (compressed or not) or a zip archive. Names are relative to it.
        suffixes: such as (".bs2", ".txt"); other files, links and devices are skipped.

    Raises:
        FileNotFoundError: no such path.
        ValueError: the path is not an archive, is corrupt, has a file name that leaves it, or a
            file larger than `LARGEST`.
    """
    if path.is_dir():
        yield from _folder(path, suffixes)
    elif not path.exists():
        raise FileNotFoundError(f"no such file or folder: {path}")
    elif zipfile.is_zipfile(path):
        yield from _translate_errors(path, _zip(path, suffixes))
    else:
        yield from _translate_errors(path, _tar(path, suffixes))


def _folder(path: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[PurePosixPath, bytes]]:
    for file in sorted(path.rglob("*")):
        if file.name.endswith(suffixes) and file.is_file():
            yield PurePosixPath(file.relative_to(path).as_posix()), file.read_bytes()


def _tar(path: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[PurePosixPath, bytes]]:
    with tarfile.open(path, "r:*") as archive:
        for member in archive:
            if member.isfile() and member.name.endswith(suffixes):
                name = _check_member(path, member.name, member.size)
                if (file := archive.extractfile(member)) is not None:
                    yield name, file.read()


def _zip(path: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[PurePosixPath, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.is_dir() and member.filename.endswith(suffixes):
                name = _check_member(path, member.filename, member.file_size)
                yield name, archive.read(member)


def _check_member(path: Path, name: str, size: int) -> PurePosixPath:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts:
        raise ValueError(f"{path} has a file name that leaves the archive: {name!r}")
    if size > LARGEST:
        raise ValueError(f"{name} in {path} must have at most {LARGEST} bytes, got {size}")
    return pure


def _translate_errors(
    path: Path, files: Iterator[tuple[PurePosixPath, bytes]]
) -> Iterator[tuple[PurePosixPath, bytes]]:
    """The same files; every error of a corrupt archive becomes a ValueError."""
    try:
        yield from files
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise ValueError(f"{path} is corrupt or not a tar or zip archive: {error}") from error
