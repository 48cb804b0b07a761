"""AEDAT 2.0 recordings, as jAER writes them.

Lines of text that start with '#', the first of them "#!AER-DAT2.0", and then eight bytes an event,
big endian: a 32-bit address and a 32-bit time in microseconds. jAER writes the camera's class as
"# AEChip: <class>", and since 2016 closes the text with "#End Of ASCII Header".

Sources: iniVation, AEDAT 2.0,
https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-2.0.html, and the
event extractors of jAER's classes DVS128 and DavisBaseCamera, https://github.com/SensorsINI/jaer.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from .aedat2_chips import CHIPS, Chip, find_chip
from .recording import Recording

AEDAT2_CLOCK = 2**32
"""Microseconds after which the clock of a recording starts again."""

_RECORD = np.dtype([("address", ">u4"), ("t", ">u4")])
_MAGIC = b"#!AER-DAT"
_END = re.compile(rb"#\s*end of ascii header\s*", re.IGNORECASE)
_CHIP = re.compile(rb"#\s*AEChip:\s*(\S.*?)\s*", re.IGNORECASE)
_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
"""Bytes that no line of text has. A first event that starts with '#' has some in its time."""


def read_aedat2(
    source: str | Path | bytes, *, chip: str | None = None, tolerate_truncation: bool = False
) -> Recording:
    """The pixels' events of one AEDAT 2.0 file of a DVS128, DAVIS240 or DAVIS346 camera.

    Pass the result to `check_recording` with wrap=AEDAT2_CLOCK, for files whose clock starts
    again.

    Args:
        source: path of the file, or its bytes.
        chip: the camera's class in jAER, such as "DVS128" or "DAVIS240C", in place of the one
            that the file names. A file that names none is read as a DVS128's if all its addresses
            are a DVS128's.
        tolerate_truncation: leave out an event that the end of the file cuts, as a recording has
            that was not closed.

    Returns:
        x from the left, y from the lowest row, p 1 for brighter and 0 for darker. Records that
        are no pixel's events (frames, inertial samples, signals from outside) are left out.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an AEDAT file, one of another version, one that ends within an event, of
            an unknown camera, or with addresses that its camera does not have.
    """
    raw = source if isinstance(source, bytes) else Path(source).read_bytes()
    name = "the bytes" if isinstance(source, bytes) else str(source)
    lines, end = _header(raw, name)
    body = raw[end:]
    whole, rest = divmod(len(body), _RECORD.itemsize)
    if rest and not tolerate_truncation:
        raise ValueError(
            f"an AEDAT 2.0 file has {_RECORD.itemsize} bytes an event, but {name} ends {rest} "
            f"bytes into event {whole}; tolerate_truncation=True leaves that event out"
        )
    records = np.frombuffer(body, _RECORD, whole)
    address = records["address"].astype(np.int64)
    camera = _camera(lines, address, chip, name)
    pixel = address & camera.other == 0
    address, t = address[pixel], records["t"][pixel].astype(np.int64)
    x, y, p = camera.decode(address)
    width, height = camera.size
    off = (address & camera.unused != 0) | (x < 0) | (x >= width) | (y >= height)
    if off.any():
        at = int(off.argmax())
        raise ValueError(
            f"{name} is not a recording of a {camera.name} ({width} x {height} pixels): one of its "
            f"events has the address {address[at]:#010x}, at {t[at]} us"
        )
    return Recording(t, x, y, p)


def _header(raw: bytes, name: str) -> tuple[list[bytes], int]:
    """The lines of text, and where the events begin."""
    if not raw.startswith(_MAGIC):
        raise ValueError(f"an AEDAT file starts with {_MAGIC.decode()}, {name} with {raw[:9]!r}")
    lines: list[bytes] = []
    end = 0
    while raw[end : end + 1] == b"#":
        newline = raw.find(b"\n", end)
        line = raw[end : None if newline < 0 else newline].removesuffix(b"\r")
        if _CONTROL.search(line):
            break
        if newline < 0:
            raise ValueError(f"{name} ends within its header")
        lines.append(line)
        end = newline + 1
        if _END.fullmatch(line):
            break
    version = lines[0][len(_MAGIC) :].strip() if lines else b"?"
    if version not in (b"2.0", b"2"):
        raise ValueError(
            f"the AEDAT version must be 2.0, {name} has {version.decode('ascii', 'replace')}; "
            "tonic reads AEDAT 3 and 4, and from_tonic takes its data sets"
        )
    return lines, end


def _camera(lines: list[bytes], address: np.ndarray, chip: str | None, name: str) -> Chip:
    """The camera that was named, or a DVS128 where no address says otherwise."""
    if chip is not None:
        return find_chip(chip, "chip")
    found = (_CHIP.fullmatch(line) for line in lines)
    named = sorted({one[1].decode("ascii", "replace") for one in found if one})
    if len(named) > 1:
        raise ValueError(f"{name} must name one AEChip, got {', '.join(named)}")
    if named:
        return find_chip(named[0], f"AEChip of {name}")
    camera = CHIPS["dvs128"]
    strange = (address & camera.unused) != 0
    if strange.any():
        at = int(strange.argmax())
        raise ValueError(
            f"{name} has no AEChip line that names its camera, and event {at} is not a DVS128's "
            f"(address {address[at]:#010x}); pass chip= to read_aedat2"
        )
    return camera
