"""Readers of files that others wrote: damaged contents are a ValueError that names the file.

The formats' libraries raise errors of many classes for damaged files, among them SyntaxError,
tokenize.TokenError, NotImplementedError, zlib.error, RecursionError, MemoryError and Exception
itself. `reading` turns all of them into one. What declares more than `LARGEST` bytes is refused
before it is unpacked.
"""

from __future__ import annotations

import errno
import gzip
import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import EvenfallError, shorten_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST = 2**31
"""Most bytes of the unpacked contents of a compressed file."""
_CHUNK = 2**20
_OF_CONTENTS = (None, errno.EINVAL, errno.EOVERFLOW)
"""Of an OSError that damaged contents cause: a library's own, or a seek to an absurd place."""


@contextmanager
def reading(path: str | Path, what: str = "") -> Iterator[None]:
    """Turn every error of damaged contents into a ValueError that begins with `what` and `path`.

    Errors of the system, such as a missing file, errors of Evenfall and missing packages pass.
    """
    try:
        yield
    except (EvenfallError, ImportError):
        raise
    except MemoryError as error:
        raise ValueError(f"{_name(path, what)} declares more data than the memory holds") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in _OF_CONTENTS:
            raise
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        reason = shorten_text(" ".join(str(error).split()), 300) or type(error).__name__
        if "allow_pickle" in reason:  # NumPy's advice would run code of the file
            reason = "it contains Python objects, not arrays of numbers"
        if "weights_only" in reason:  # and so would PyTorch's
            reason = "it is damaged, or contains Python objects, not tensors"
        raise ValueError(f"{_name(path, what)} cannot be read: {reason}") from error


def _name(path: str | Path, what: str) -> str:
    return f"{what} {path}".lstrip()


def read_json(path: str | Path, what: str = "") -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not UTF-8, not JSON, or not an object.
    """
    with reading(path, what):
        values = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError(f"it must be a JSON object, got {type(values).__name__}")
    return values


def unzip(content: bytes, path: str | Path, what: str = "", most: int | None = None) -> bytes:
    """The contents of gzip data; it may have several members.

    Args:
        content: the compressed bytes.
        path: their file, for messages.
        what: what the file is, for messages.
        most: the largest size of the result; None for `LARGEST`.

    Raises:
        ValueError: the data is truncated, damaged or too large.
    """
    most, parts, size = LARGEST if most is None else most, [], 0
    with reading(path, what), gzip.GzipFile(fileobj=io.BytesIO(content)) as unpacked:
        while True:
            try:
                part = unpacked.read(_CHUNK)
            except EOFError:
                raise ValueError("it is truncated or damaged") from None
            if not part:
                break
            size += len(part)
            if size > most:
                raise ValueError(f"it unpacks to more than {most:,} bytes")
            parts.append(part)
    return b"".join(parts)


def read_member(archive: zipfile.ZipFile, name: str, path: str | Path, what: str = "") -> bytes:
    """One file of a zip archive.

    Raises:
        ValueError: it is damaged, encrypted, or larger than `LARGEST`.
    """
    with reading(path, what):
        size = archive.getinfo(name).file_size
        if size > LARGEST:
            raise ValueError(f"{name} unpacks to {size:,} bytes, more than {LARGEST:,}")
        return archive.read(name)


def read_array(path: str | Path, what: str = "") -> NDArray[Any]:
    """The array of a .npy file, without pickles.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file.
    """
    import numpy as np

    with Path(path).open("rb") as file, reading(path, what):
        found: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        if not isinstance(found, np.ndarray) or found.dtype.hasobject:
            raise ValueError("it must contain one array of numbers")
    return found


def read_arrays(path: str | Path, what: str = "") -> dict[str, NDArray[Any]]:
    """The arrays of a .npz file by name, without pickles.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file, or larger than `LARGEST`.
    """
    import numpy as np

    arrays: dict[str, NDArray[Any]] = {}
    with Path(path).open("rb") as file, reading(path, what), zipfile.ZipFile(file) as archive:
        total = sum(member.file_size for member in archive.infolist())
        if total > LARGEST:
            raise ValueError(f"it unpacks to {total:,} bytes, more than {LARGEST:,}")
        for member in archive.namelist():
            content = io.BytesIO(archive.read(member))
            arrays[member.removesuffix(".npy")] = np.lib.format.read_array(
                content, allow_pickle=False
            )
    return arrays
