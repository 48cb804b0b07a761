"""A file is read by the reader of its suffix, and every way to fail names the file."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar
from zipfile import BadZipFile

Found = TypeVar("Found")


def read_file(path: Path, readers: Mapping[str, Callable[[Path], Found]], what: str) -> Found:
    """What the reader of the file's suffix returns.

    Args:
        path: the file.
        readers: suffix, such as ".npz", to reader.
        what: the file should be, such as "a cloud"; for messages.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no reader of that suffix, or the reader cannot read the file.
    """
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"{path} must be {what} in one of {sorted(readers)}")
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        return reader(path)
    except (IndexError, KeyError, TypeError, ValueError, EOFError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    except (BadZipFile, zlib.error, NotImplementedError) as error:
        raise ValueError(f"{path} is corrupt: {error}") from error
