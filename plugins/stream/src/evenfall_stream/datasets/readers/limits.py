"""Limits of what a file may ask for: a damaged or hostile file declares more than it has."""

from __future__ import annotations

import codecs
from pathlib import Path

MOST_EVENTS = 2**27
"""Of a recording: 4.3 GB as int64 arrays."""
MOST_POINTS = 2**26
"""Of a cloud: 1.6 GB as float64."""
MOST_BYTES = 2**31
"""Of a file."""
MOST_TEXT = 2**28
"""Bytes of a text file, which takes many times its size in memory."""


def check_count(count: int, unit: str, most: int) -> None:
    """Refuse more events or points than the limit, before they are read.

    Raises:
        ValueError: there are more, or less than none.
    """
    if not 0 <= count <= most:
        raise ValueError(f"there must be at most {most:,} {unit}, got {count:,}; cut the file")


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """The contents of a file.

    Raises:
        ValueError: it has more than `most` bytes.
    """
    size = path.stat().st_size
    if size > most:
        raise ValueError(f"the file must have at most {most:,} bytes, got {size:,}; cut it")
    return path.read_bytes()


def read_text(path: Path) -> str:
    """The contents of a text file, without a byte order mark.

    Raises:
        ValueError: it has more than `MOST_TEXT` bytes, or is neither UTF-8 nor UTF-16 with a mark.
    """
    return decode_text(read_bytes(path, MOST_TEXT))


def decode_text(raw: bytes, errors: str = "strict") -> str:
    """UTF-8, or UTF-16 with a byte order mark, without the mark. `errors` is that of bytes.decode.

    Raises:
        ValueError: bytes are neither, and `errors` is "strict".
    """
    kind = "utf-16" if raw[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
    return raw.decode(kind, errors)
