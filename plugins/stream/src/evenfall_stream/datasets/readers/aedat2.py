"""AEDAT 2.0 recordings of a DVS128 camera, as jAER writes them.

Lines of text that start with '#', the first of them "#!AER-DAT2.0", and then eight bytes an event,
big endian: a 32-bit address and a 32-bit time in microseconds. A DVS128's address holds

    bits 31, 15   set where the record is no pixel's event, but a signal from outside
    bits 14-8     y, 0 in the row that jAER draws lowest
    bits 7-1      127 - x, since the chip counts its columns from the right
    bit 0         1 where the pixel got darker (OFF), 0 where it got brighter (ON)

These are the rules of jAER's class DVS128. A program that takes bit 0 for the polarity, as some
do, calls ON what is OFF here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .recording import Recording

AEDAT2_CLOCK = 2**32
"""Microseconds after which the clock of a recording starts again."""

DVS128_SIZE = (128, 128)
"""(width, height) of the camera in pixels."""

_RECORD = np.dtype([("address", ">u4"), ("t", ">u4")])
_MAGIC = b"#!AER-DAT"
_SPECIAL = 1 << 31 | 1 << 15


def read_aedat2(source: str | Path | bytes, *, tolerate_truncation: bool = False) -> Recording:
    """The pixels' events of one AEDAT 2.0 file of a DVS128, as they stand there.

    Pass the result to `check_recording` with wrap=AEDAT2_CLOCK, for files whose clock starts
    again.

    Args:
        source: path of the file, or its bytes.
        tolerate_truncation: leave out an event that the end of the file cuts, as a recording has
            that was not closed.

    Returns:
        p is 1 for brighter, 0 for darker; records that are no pixel's are left out.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an AEDAT file, one of another version, or one that ends within an event.

    Source: class DVS128 of jAER, https://github.com/SensorsINI/jaer.
    """
    raw = source if isinstance(source, bytes) else Path(source).read_bytes()
    name = "the bytes" if isinstance(source, bytes) else str(source)
    body = raw[_header_end(raw, name) :]
    whole, rest = divmod(len(body), _RECORD.itemsize)
    if rest and not tolerate_truncation:
        raise ValueError(
            f"an AEDAT 2.0 file has {_RECORD.itemsize} bytes an event, but {name} ends {rest} "
            f"bytes into event {whole}; tolerate_truncation=True leaves that event out"
        )
    records = np.frombuffer(body, _RECORD, whole)
    address = records["address"].astype(np.int64)
    pixel = address & _SPECIAL == 0
    address, t = address[pixel], records["t"][pixel].astype(np.int64)
    return Recording(t, 127 - (address >> 1 & 127), address >> 8 & 127, 1 - (address & 1))


def _header_end(raw: bytes, name: str) -> int:
    """Where the events begin: after the lines that start with '#'."""
    if not raw.startswith(_MAGIC):
        raise ValueError(f"an AEDAT file starts with {_MAGIC.decode()}, {name} with {raw[:9]!r}")
    end = 0
    while raw[end : end + 1] == b"#":
        newline = raw.find(b"\n", end)
        if newline < 0:
            raise ValueError(f"{name} ends within its header")
        end = newline + 1
    version = raw[len(_MAGIC) : raw.find(b"\n")].strip()
    if version not in (b"2.0", b"2"):
        raise ValueError(
            f"the AEDAT version must be 2.0, {name} has {version.decode('ascii', 'replace')}; "
            "tonic reads AEDAT 3 and 4, and from_tonic takes its data sets"
        )
    return end
