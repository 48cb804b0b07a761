"""Tables of numbers as text."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from pathlib import Path

import numpy as np

from .limits import read_text


def read_table(path: Path, is_name: Callable[[str], bool]) -> tuple[list[str] | None, np.ndarray]:
    """(names of the columns if a line before the first row has them, (rows, columns) float64).

    Values are separated by commas, semicolons, tabs or spaces. Text after # or // is a comment. A
    comment before the first row, as CloudCompare writes it, has the names if it has a word for each
    column and `is_name` knows one of them.

    Raises:
        ValueError: a value is not a number, or lines have different numbers of values.
    """
    lines = [line.strip() for line in read_text(path).splitlines()]
    lines = [line for line in lines if line]
    rows = [row for row in (_without_comment(line) for line in lines) if row]
    names: list[str] | None = None
    if rows and not any(map(_is_number, _split(rows[0]))):
        names = _split(rows.pop(0))
    elif rows:
        comments = takewhile(lambda line: not _without_comment(line), lines)
        candidates = [_split(line.lstrip("#/ ")) for line in comments]
        width = len(_split(rows[0]))
        fitting = [one for one in candidates if len(one) == width and any(map(is_name, one))]
        names = fitting[-1] if fitting else None
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
