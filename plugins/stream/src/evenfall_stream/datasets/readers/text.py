"""Tables of numbers as text."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .limits import read_text


def read_table(path: Path) -> tuple[list[str] | None, np.ndarray]:
    """(names of the columns if the first line has them, (rows, columns) float64).

    Values are separated by commas, semicolons, tabs or spaces. Text after # or // is a comment. The
    first line may be a comment and have the names, as CloudCompare writes them.

    Raises:
        ValueError: a value is not a number, or lines have different numbers of values.
    """
    lines = [line.strip() for line in read_text(path).splitlines()]
    lines = [line for line in lines if line]
    rows = [row for row in (_without_comment(line) for line in lines) if row]
    names: list[str] | None = None
    if rows and not any(map(_is_number, _split(rows[0]))):
        names = _split(rows.pop(0))
    elif lines and not _without_comment(lines[0]):
        first = _split(lines[0].lstrip("#/ "))
        width = len(_split(rows[0])) if rows else 0
        names = first if len(first) == width and not any(map(_is_number, first)) else None
    if not rows:
        return names, np.empty((0, len(names or ())))
    try:
        values = np.loadtxt(rows, delimiter=_delimiter(rows[0]), ndmin=2, dtype=np.float64)
    except ValueError as error:  # without NumPy's hint at its arguments
        raise ValueError(str(error).partition("; use `usecols`")[0]) from None
    if names is not None and len(names) != values.shape[1]:
        raise ValueError(f"there are {len(names)} names, but {values.shape[1]} columns")
    return names, values


def _without_comment(line: str) -> str:
    return line.partition("#")[0].partition("//")[0].strip()


def _delimiter(line: str) -> str | None:
    return next((one for one in ",;" if one in line), None)


def _split(line: str) -> list[str]:
    return [word.strip().strip('"') for word in line.split(_delimiter(line))]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
