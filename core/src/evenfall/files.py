"""Files and folders that appear whole or not at all: they are written elsewhere, then renamed."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .errors import EvenfallError

_PLACE = re.compile(r"\.(?P<name>.+)-[a-z0-9_]{8}")
"""Where written_aside writes `name`, and puts the folder that is replaced, `name-old`."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Why an open file takes no more; such an error does not name the file."""


@contextmanager
def written_aside(
    path: str | Path, *, replace: bool = False, known: tuple[str, ...] = ()
) -> Iterator[Path]:
    """Yield a temporary folder of the same name; it becomes `path` if the block raises no error.

    Args:
        path: the folder to write.
        replace: whether an existing folder may be replaced; its files are lost.
        known: see `want_replaceable`.

    Raises:
        FileExistsError: see `want_replaceable`. Another process may also have written the folder in
            the meantime; its folder stays.
        OSError: it cannot be written, for example on a full disk.
    """
    path = Path(path)
    want_replaceable(path, replace=replace, known=known)
    path.parent.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    aside, old = place / path.name, place / f"{path.name}-old"
    try:
        aside.mkdir()
        with writing(path):
            yield aside
        for entry in (aside, *aside.rglob("*")):
            entry.chmod(0o755 if entry.is_dir() else 0o644)
        want_replaceable(path, replace=replace, known=known)
        if path.exists():
            path.rename(old)
        try:
            aside.rename(path)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            raise FileExistsError(f"output {path}: another process has just written it") from None
    finally:
        try:
            _clean_up(place, old, path)
        except KeyboardInterrupt:  # also then, nothing stays behind
            _clean_up(place, old, path)
            raise


def _clean_up(place: Path, old: Path, path: Path) -> None:
    """Put back what was to be replaced and was not, and remove the rest."""
    if old.exists() and not path.exists():
        old.rename(path)
    shutil.rmtree(place, ignore_errors=True)


def want_replaceable(
    path: str | Path, *, replace: bool = False, known: tuple[str, ...] = ()
) -> None:
    """Refuse to write a folder over what must stay.

    Args:
        path: the folder to write.
        replace: whether an existing folder may be replaced.
        known: entries by which a folder of the same kind is known. One that has not all of them
            and is not empty stays, so that `replace` cannot remove other files.

    Raises:
        FileExistsError: `path` exists and may not be replaced.
    """
    path = Path(path)
    if not path.exists():
        return
    if not replace:
        raise FileExistsError(f"output {path} already exists; choose another folder")
    if not known or (path.is_dir() and not any(path.iterdir())):
        return
    missing = [name for name in known if not (path / name).exists()]
    if missing:
        raise FileExistsError(
            f"output {path} has other files (no {missing[0]}) and is not replaced; choose another "
            "folder"
        )


def recover(folder: Path, names: re.Pattern[str]) -> None:
    """Undo what killed processes left of written_aside: a folder that was to be replaced comes
    back, and what was not complete is removed. Nobody may write to `folder` at the same time.

    Args:
        folder: the parent of what was written.
        names: the names of what was written; others are not touched.
    """
    for place in list(folder.iterdir()):
        match = _PLACE.fullmatch(place.name)
        if match is None or names.fullmatch(match["name"]) is None:
            continue
        _clean_up(place, place / f"{match['name']}-old", folder / match["name"])


def write_text(path: str | Path, text: str) -> Path:
    """Write a UTF-8 file in one step and return its path."""
    with file_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")
    return Path(path)


def write_json(path: str | Path, value: object) -> Path:
    """Write a value as an indented JSON file, in one step, and return its path.

    Raises:
        TypeError: JSON has no such value.
        ValueError: a number is NaN or infinite, which JSON lacks; the message says which.
    """
    check_finite(value, str(path))
    return write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def without_nan(value: object) -> object:
    """The value with None in the place of NaN and infinity, which JSON lacks."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(one) for one in value]
    return value


def check_finite(value: object, what: str) -> None:
    """Refuse numbers that JSON lacks, in a value of any depth.

    Raises:
        ValueError: a number is NaN or infinite; the message begins with `what` and says which.
    """
    place = _not_finite(value)
    if place is not None:
        raise ValueError(f"{what}: {place}, which JSON cannot hold; want finite numbers")


def _not_finite(value: object, place: str = "") -> str | None:
    """Where a number in the value is NaN or infinite, and which; None if there is none."""
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{place or 'the value'} is {value}"
    items: Iterable[tuple[object, object]] = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    found = (_not_finite(one, f"{place}.{key}".lstrip(".")) for key, one in items)
    return next((one for one in found if one is not None), None)


@contextmanager
def file_aside(path: str | Path) -> Iterator[Path]:
    """Yield a temporary file name beside `path`, with the same suffix. The file becomes `path` if
    the block raises no error."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder, want a file", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        with writing(path):
            yield aside
        aside.chmod(0o644)  # some writers, such as safetensors, let only the owner read
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Errors that mean a file cannot be written are an OSError that names `path`, also those of
    PyTorch and safetensors.

    Raises:
        OSError: it cannot be written, for example on a full disk.
    """
    try:
        yield
    except EvenfallError:
        raise
    except OSError as error:
        code = _full(error)
        if code is None or " cannot be written: " in str(error):
            raise
        raise OSError(code, f"{path} cannot be written: {os.strerror(code)}") from error
    except Exception as error:
        if not is_failed_write(error):
            raise
        reason = str(error).partition("\n")[0]
        raise OSError(errno.EIO, f"{path} cannot be written: {reason}") from error


def is_full(error: Exception) -> bool:
    """Whether an error means that the disk takes no more, so that nothing else can be written."""
    return isinstance(error, OSError) and _full(error) is not None


def _full(error: OSError) -> int | None:
    """The number of an error of a full disk; None of others. NumPy's error of an array that was
    written in part has no number."""
    if error.errno is None and _IN_PART.fullmatch(str(error)):
        return errno.ENOSPC
    return error.errno if error.errno in FULL else None


_IN_PART = re.compile(r"\d+ requested and \d+ written")


def is_failed_write(error: Exception) -> bool:
    """Whether an error of safetensors or PyTorch means that a file cannot be written."""
    text = str(error)
    safetensors = sys.modules.get("safetensors")
    if safetensors is not None and isinstance(error, safetensors.SafetensorError):
        return "serializing" in text and "deserializing" not in text
    # torch.save raises a RuntimeError with words of its C++ file.
    words = ("PytorchStreamWriter", "inline_container")
    return isinstance(error, RuntimeError) and any(word in text for word in words)
