"""Recordings of Prophesee's cameras: .raw files with EVT 2.0 or EVT 3.0, and .dat files.

A file begins with text lines that start with '%'. Words are little endian.

EVT 2.0, 32 bits: bits 31-28 are the type.
    0x0, 0x1      event, OFF or ON: 27-22 lowest 6 bits of the time in us, 21-11 x, 10-0 y
    0x8           27-0 higher bits of the time
    0xA, 0xE, 0xF external trigger, others, continued

EVT 3.0, 16 bits: bits 15-12 are the type.
    0x0           10-0 y of the next events
    0x2           event: 11 polarity, 10-0 x
    0x3           11 polarity, 10-0 x at which the next vectors start
    0x4, 0x5      vector: bit k of 11-0, or of 7-0, is an event k pixels to the right; the next
                  vector starts 12, or 8, pixels to the right
    0x6, 0x8      11-0 lower or higher 12 bits of the time in us, modulo 2**24
    0x7, 0xA, 0xE, 0xF  continued, external trigger, others, continued

DAT, version 2: a byte for the type of event (0 or 12), a byte for its size (8), then events of a
32-bit time in us, and 14 bits x, 14 bits y, 4 bits polarity, from the lowest.

Source: Prophesee, Metavision SDK, Data encoding formats,
https://docs.prophesee.ai/stable/data/encoding_formats/index.html and file_formats/.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from .limits import MOST_EVENTS, check_count, read_bytes
from .recording import Recording

DAT_CLOCK = 2**32
"""Period of a .dat file's clock in microseconds."""
Size = tuple[int, ...] | None
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\xff]")
"""Bytes that are taken for those of words in a header without an end."""
_END = re.compile(rb"(?:%[^\n]*+\n)*?% *end *\r?\n", re.IGNORECASE)
"""A header with its end: text in any encoding."""
_MOST_HEADER = 2**20
_VERSIONS = {"2.0": "2", "2": "2", "3.0": "3", "3": "3"}
_ONES = np.array([value.bit_count() for value in range(2**12)])
"""Bits that are set in a 12-bit number."""


def read_raw(source: Path | bytes) -> tuple[Recording, Size]:
    """The events of a .raw file, and the size of its sensor if the header has it.

    y is counted from the top row. Events before the first time are dropped, as by Metavision.

    Raises:
        ValueError: there is no format in the header, or another one; the file ends within a word;
            it has an unknown type of word, or too many events.
    """
    raw = source if isinstance(source, bytes) else read_bytes(source)
    header, start = _header(raw)
    kind, size = _format(header), _size(header)
    decode, word = (_evt2, np.dtype("<u4")) if kind == "2" else (_evt3, np.dtype("<u2"))
    return decode(_words(raw, start, word)), size


def read_dat(source: Path | bytes) -> tuple[Recording, Size]:
    """The events of a .dat file, and the size of its sensor if the header has it.

    Its clock wraps around after `DAT_CLOCK`.

    Raises:
        ValueError: it has another version or kind of event, or ends within an event.
    """
    raw = source if isinstance(source, bytes) else read_bytes(source)
    header, start = _header(raw)
    version = header.get("version")
    if version != "2":
        raise ValueError(f"a .dat file must have version 2, got {version}")
    if len(raw) < start + 2:
        raise ValueError("it ends in its header")
    kind, size = raw[start], raw[start + 1]
    if kind not in (0, 12) or size != 8:
        raise ValueError(
            f"its events must have type 0 or 12 and 8 bytes, got type {kind} and {size} bytes"
        )
    words = _words(raw, start + 2, np.dtype([("t", "<u4"), ("data", "<u4")]))
    check_count(len(words), "events", MOST_EVENTS)
    data: np.ndarray = words["data"].astype(np.int64)
    t: np.ndarray = words["t"].astype(np.int64)
    return Recording(t, data & 0x3FFF, data >> 14 & 0x3FFF, data >> 28), _size(header)


def _header(raw: bytes) -> tuple[dict[str, str], int]:
    """The values of the text lines by name, in lower case, and where the words start."""
    values: dict[str, str] = {}
    end = 0
    last = _END.match(raw[:_MOST_HEADER])
    while raw[end : end + 1] == b"%":
        newline = raw.find(b"\n", end, end + _MOST_HEADER)
        line = raw[end : max(newline, end)]
        if newline < 0 or (last is None and _CONTROL.search(line)):
            break  # a word whose first byte is '%'
        end = newline + 1
        name, _, value = line[1:].decode("utf-8", "replace").strip().partition(" ")
        if name.lower() == "end":
            break
        values[name.lower()] = value.strip()
    if not end:
        raise ValueError("it must start with text lines of '%'")
    return values, end


def _format(header: dict[str, str]) -> str:
    """ "2" or "3"."""
    named = header.get("format", "").partition(";")[0].strip().upper()
    stated = [header.get("evt", ""), named.removeprefix("EVT")]
    versions = {_VERSIONS.get(one) for one in stated if one}
    if len(versions) > 1:
        raise ValueError(f"its header must state one format, got evt {stated[0]} and {named}")
    if found := next(iter(versions), None):
        return found
    raise ValueError(
        f"a .raw file must have '% evt 2.0', '% evt 3.0' or '% format EVT2' or EVT3 in its header, "
        f"got {named or header.get('evt') or 'none of them'}"
    )


def _size(header: dict[str, str]) -> Size:
    """(width, height) of `format ...;width=W;height=H`, `geometry WxH`, or `Width` and `Height`."""
    options = dict(
        part.strip().split("=", 1) for part in header.get("format", "").split(";") if "=" in part
    )
    width, height = options.get("width"), options.get("height")
    if width is None and "geometry" in header:
        width, _, height = header["geometry"].lower().replace(" ", "").partition("x")
    width, height = width or header.get("width"), height or header.get("height")
    if width is None or height is None:
        return None
    if not (width.isdecimal() and height.isdecimal() and 0 < len(width + height) <= 10):
        raise ValueError(f"the size of the sensor must be two numbers, got {width} and {height}")
    if not int(width) or not int(height):
        raise ValueError(f"the size of the sensor must be positive, got {width} x {height}")
    return int(width), int(height)


def _words(raw: bytes, start: int, word: np.dtype) -> np.ndarray:
    count, rest = divmod(len(raw) - start, word.itemsize)
    if rest:
        raise ValueError(f"it ends {rest} bytes into a word of {word.itemsize} bytes")
    return np.frombuffer(raw, word, count, start)


def _evt2(words: np.ndarray) -> Recording:
    kind = words >> 28
    _refuse_unknown(kind, (0x0, 0x1, 0x8, 0xA, 0xE, 0xF))
    high = _last(kind == 0x8, words & 0x0FFFFFFF)
    event = (kind <= 1) & (high >= 0)
    check_count(int(event.sum()), "events", MOST_EVENTS)
    data = words[event].astype(np.int64)
    t = _unwrap(high[event], 28) << 6 | data >> 22 & 63
    return Recording(t, data >> 11 & 2047, data & 2047, data >> 28)


def _evt3(words: np.ndarray) -> Recording:
    kind = words >> 12
    _refuse_unknown(kind, (0x0, 0x2, 0x3, 0x4, 0x5, 0x6, 0x7, 0x8, 0xA, 0xE, 0xF))
    low_bits = words & 0x0FFF
    y = _last(kind == 0x0, words & 0x07FF)
    high = _last(kind == 0x8, low_bits)
    # A new higher part starts with a lower part of 0.
    turned = (kind == 0x8) & (np.diff(high, prepend=-1) != 0)
    low = _last((kind == 0x6) | turned, np.where(turned, 0, low_bits))
    base = _last(kind == 0x3, words & 0x0FFF)
    width = np.where(kind == 0x4, 12, np.where(kind == 0x5, 8, 0))
    passed = np.cumsum(width) - width  # pixels of all vectors before the word
    ahead = passed - _last(kind == 0x3, passed)
    timed = (high >= 0) & (y >= 0)
    single = np.flatnonzero((kind == 0x2) & timed)
    vectors = np.flatnonzero((width > 0) & timed & (base >= 0))
    bits = np.where(kind[vectors] == 0x4, low_bits[vectors], words[vectors] & 0xFF)
    check_count(len(single) + int(_ONES[bits].sum()), "events", MOST_EVENTS)
    row, place = np.nonzero(bits[:, None] >> np.arange(12) & 1)
    source = np.concatenate([single, vectors[row]])
    data = base[vectors[row]]
    x = np.concatenate(
        [words[single] & 0x07FF, (data & 0x07FF) + ahead[vectors[row]] + place]
    ).astype(np.int64)
    p = np.concatenate([words[single] >> 11 & 1, data >> 11]).astype(np.int64)
    order = np.argsort(source, kind="stable")
    source, x, p = source[order], x[order], p[order]
    t = _unwrap(high, 12)[source] << 12 | np.maximum(low, 0)[source]
    return Recording(t, x, y[source], p)


def _last(marked: np.ndarray, values: np.ndarray) -> np.ndarray:
    """At each word the value of the last marked word so far, int64; -1 before the first one."""
    at = np.maximum.accumulate(np.where(marked, np.arange(len(marked)), -1)) if len(marked) else []
    at = np.asarray(at, np.int64)
    return np.where(at >= 0, values.astype(np.int64)[at], -1)


def _unwrap(high: np.ndarray, bits: int) -> np.ndarray:
    """Counters that do not wrap around: a decrease by more than half a period adds one."""
    wraps = np.diff(high, prepend=high[:1]) < -(1 << bits - 1)
    return high + (np.cumsum(wraps) << bits)


def _refuse_unknown(kind: np.ndarray, known: tuple[int, ...]) -> None:
    unknown = ~np.isin(kind, known)
    if unknown.any():
        at = int(unknown.argmax())
        raise ValueError(f"word {at} has the unknown type {int(kind[at]):#x}")
