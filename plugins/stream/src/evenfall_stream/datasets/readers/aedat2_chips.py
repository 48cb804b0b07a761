"""The supported cameras, and the layout of their AEDAT 2.0 addresses.

DVS128:
    bits 31, 15   set if the record is an external signal, not a pixel event
    bits 14-8     y, 0 in the row that jAER draws lowest
    bits 7-1      127 - x, since the chip counts its columns from the right
    bit 0         1 if the pixel got darker (OFF), 0 if it got brighter (ON)

Some programs take bit 0 as the polarity, so their ON is OFF here.

DAVIS240 (240 x 180) and DAVIS346 (346 x 260):
    bit 31        set if the record is a sample of a frame or of the inertial unit
    bits 30-22    y, 0 in the row that jAER draws lowest
    bits 21-12    width - 1 - x, since the chip counts its columns from the right
    bit 11        1 if the pixel got brighter (ON), 0 if it got darker (OFF)
    bit 10        set if the record is an external signal
    bits 9-0      not used by pixel events
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from evenfall.errors import shorten

Columns = tuple[np.ndarray, np.ndarray, np.ndarray]
DVS128_SIZE = (128, 128)
"""(width, height) of the DVS128 in pixels."""


class Chip(NamedTuple):
    """A camera.

    Attributes:
        name: for messages.
        size: (width, height) in pixels.
        other: bits that are set if a record is not a pixel event.
        unused: bits that are never set.
        decode: (N,) addresses of pixel events to x, y and p.
    """

    name: str
    size: tuple[int, int]
    other: int
    unused: int
    decode: Callable[[np.ndarray], Columns]


def find_chip(name: str, what: str) -> Chip:
    """The camera of a jAER class, with or without its package.

    Raises:
        ValueError: it is not in `CHIPS`.
    """
    chip = CHIPS.get(name.rpartition(".")[2].lower())
    if chip is None:
        matches = difflib.get_close_matches(name.rpartition(".")[2].lower(), CHIPS, n=3)
        hint = f"; closest are {', '.join(matches)}" if matches else ""
        raise ValueError(f"{what} must be one of {', '.join(CHIPS)}, got {shorten(name)}{hint}")
    return chip


def _dvs128(address: np.ndarray) -> Columns:
    return 127 - (address >> 1 & 127), address >> 8 & 127, 1 - (address & 1)


def _davis(width: int, height: int, name: str) -> Chip:
    def decode(address: np.ndarray) -> Columns:
        return width - 1 - (address >> 12 & 1023), address >> 22 & 511, address >> 11 & 1

    return Chip(name, (width, height), 1 << 31 | 1 << 10, 0, decode)


_DVS128 = Chip("DVS128", DVS128_SIZE, 1 << 31 | 1 << 15, 0x7FFF0000, _dvs128)
_DAVIS240, _DAVIS346 = _davis(240, 180, "DAVIS240"), _davis(346, 260, "DAVIS346")
CHIPS = {
    "dvs128": _DVS128,
    "tmpdiff128": _DVS128,
    "davis240": _DAVIS240,
    "davis240a": _DAVIS240,
    "davis240b": _DAVIS240,
    "davis240c": _DAVIS240,
    "dvs240": _DAVIS240,
    "davis346b": _DAVIS346,
    "davis346blue": _DAVIS346,
    "davis346cbsi": _DAVIS346,
    "davis346mini": _DAVIS346,
    "davis346red": _DAVIS346,
}
"""jAER class, in lower case and without its package, to camera."""
