"""Cameras whose AEDAT 2.0 addresses are known, and how each lays out an address.

DVS128:
    bits 31, 15   set where the record is no pixel's event, but a signal from outside
    bits 14-8     y, 0 in the row that jAER draws lowest
    bits 7-1      127 - x, since the chip counts its columns from the right
    bit 0         1 where the pixel got darker (OFF), 0 where it got brighter (ON)

A program that takes bit 0 for the polarity, as some do, calls ON what is OFF here.

DAVIS240 (240 x 180) and DAVIS346 (346 x 260):
    bit 31        set where the record is a sample of a frame or of the inertial unit
    bits 30-22    y, 0 in the row that jAER draws lowest
    bits 21-12    width - 1 - x, since the chip counts its columns from the right
    bit 11        1 where the pixel got brighter (ON), 0 where it got darker (OFF)
    bit 10        set where the record is a signal from outside
    bits 9-0      not used by pixels' events
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Columns = tuple[np.ndarray, np.ndarray, np.ndarray]
DVS128_SIZE = (128, 128)
"""(width, height) of the DVS128 in pixels."""


class Chip(NamedTuple):
    """One camera.

    Attributes:
        name: what messages call it.
        size: (width, height) in pixels.
        other: bits that are set where a record is no pixel's event.
        unused: bits that no record has.
        decode: (N,) addresses of pixels' events to x, y and p.
    """

    name: str
    size: tuple[int, int]
    other: int
    unused: int
    decode: Callable[[np.ndarray], Columns]


def find_chip(name: str, what: str) -> Chip:
    """The camera of a class of jAER, with or without its package.

    Raises:
        ValueError: it is not among `CHIPS`.
    """
    chip = CHIPS.get(name.rpartition(".")[2].lower())
    if chip is None:
        near = difflib.get_close_matches(name.rpartition(".")[2].lower(), CHIPS, n=3)
        hint = f"; closest are {', '.join(near)}" if near else ""
        raise ValueError(f"{what} must be one of {', '.join(CHIPS)}, got {name!r}{hint}")
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
"""Class of jAER, in lower case and without its package, to camera."""
