"""Read a file with the reader for its suffix; every error names the file."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar
from zipfile import BadZipFile

from evenfall.errors import EvenfallError, shorten_text

Contents = TypeVar("Contents")


def read_file(path: Path, readers: Mapping[str, Callable[[Path], Contents]], what: str) -> Contents:
    """The result of the reader for the file's suffix.

    Args:
        path: the file.
        readers: suffix, such as ".npz", to reader.
        what: what the file should be, such as "a cloud"; for messages.

    Raises:
        FileNotFoundError: no such file.
        ValueError: there is no reader for that suffix, or it cannot read the file.
    """
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"{path} must be {what} with a suffix in {sorted(readers)}")
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        return reader(path)
    except (ImportError, EvenfallError):
        raise
    except MemoryError as error:
        raise ValueError(f"{path} cannot be read: it needs too much memory") from error
    except (BadZipFile, zlib.error, NotImplementedError) as error:
        raise ValueError(f"{path} is corrupt: {shorten_text(str(error))}") from error
    # Each library has errors of its own; those of Rust extensions are not even an Exception.
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        words = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} cannot be read: {shorten_text(words, _MOST_WORDS)}") from error


_MOST_WORDS = 400
