"""AEDAT 2.0 recordings, as jAER writes them.

Text lines that start with '#', the first one "#!AER-DAT2.0", then eight bytes per event, big
endian: a 32-bit address and a 32-bit time in microseconds. jAER writes the camera's class as
"# AEChip: <class>", and since 2016 ends the text with "#End Of ASCII Header".

Sources: iniVation, AEDAT 2.0,
https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-2.0.html, and the
event extractors of jAER's classes DVS128 and DavisBaseCamera, https://github.com/SensorsINI/jaer.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from evenfall.errors import shorten

from .aedat2_chips import CHIPS, Chip, find_chip
from .recording import Recording

AEDAT2_CLOCK = 2**32
"""Period of the recording's clock in microseconds."""

_RECORD = np.dtype([("address", ">u4"), ("t", ">u4")])
_MAGIC = b"#!AER-DAT"
_END = re.compile(rb"#\s*end of ascii header\s*", re.IGNORECASE)
_CHIP = re.compile(rb"#\s*AEChip:\s*(\S.*?)\s*", re.IGNORECASE)
_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
"""Bytes that text lines do not contain. A first event that starts with '#' has some in its time."""


def read_aedat2(
    source: str | Path | bytes, *, chip: str | None = None, tolerate_truncation: bool = False
) -> Recording:
    """Read the pixel events of an AEDAT 2.0 file of a DVS128, DAVIS240 or DAVIS346 camera.

    Pass the result to `check_recording` with wrap=AEDAT2_CLOCK, for files whose clock wraps around.

    Args:
        source: path of the file, or its bytes.
        chip: the camera's class in jAER, such as "DVS128" or "DAVIS240C"; overrides the file's. A
            file without a camera is read as a DVS128's if all addresses are valid for one.
        tolerate_truncation: whether to drop an incomplete event at the end of the file, as an
            interrupted recording has.

    Returns:
        x from the left, y from the lowest row, p 1 for brighter and 0 for darker, without records
        that are not pixel events (frames, inertial samples, external signals).

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not AEDAT, has another version, ends within an event, is from an
            unknown camera, or has addresses that its camera does not have.
    """
    return open_aedat2(source, chip, tolerate_truncation)[0]


def open_aedat2(
    source: str | Path | bytes, chip: str | None = None, tolerate_truncation: bool = False
) -> tuple[Recording, tuple[int, int]]:
    """As `read_aedat2`, with the (width, height) of the camera."""
    raw = source if isinstance(source, bytes) else Path(source).read_bytes()
    name = "source" if isinstance(source, bytes) else str(source)
    lines, end = _header(raw, name)
    body = raw[end:]
    whole, rest = divmod(len(body), _RECORD.itemsize)
    if rest and not tolerate_truncation:
        raise ValueError(
            f"{name} ends {rest} bytes into event {whole}, but an AEDAT 2.0 event has "
            f"{_RECORD.itemsize} bytes; tolerate_truncation=True drops this event"
        )
    records = np.frombuffer(body, _RECORD, whole)
    address = records["address"].astype(np.int64)
    camera = _camera(lines, address, chip, name)
    pixel = (address & camera.other) == 0
    address, t = address[pixel], records["t"][pixel].astype(np.int64)
    x, y, p = camera.decode(address)
    width, height = camera.size
    invalid = ((address & camera.unused) != 0) | (x < 0) | (x >= width) | (y >= height)
    if invalid.any():
        at = int(invalid.argmax())
        raise ValueError(
            f"{name} is not a recording of a {camera.name} ({width} x {height} pixels): the event "
            f"at {t[at]} us has the address {address[at]:#010x}"
        )
    return Recording(t, x, y, p), camera.size


def _header(raw: bytes, name: str) -> tuple[list[bytes], int]:
    """The text lines, and the offset of the first event."""
    if not raw.startswith(_MAGIC):
        raise ValueError(f"{name} must start with {_MAGIC.decode()}, got {shorten(raw[:9])}")
    lines: list[bytes] = []
    end = 0
    while raw[end : end + 1] == b"#":
        newline = raw.find(b"\n", end)
        line = raw[end : None if newline < 0 else newline].removesuffix(b"\r")
        if _CONTROL.search(line):
            break
        if newline < 0:
            raise ValueError(f"{name} ends in its header")
        lines.append(line)
        end = newline + 1
        if _END.fullmatch(line):
            break
    version = lines[0][len(_MAGIC) :].strip() if lines else b"?"
    if version not in (b"2.0", b"2"):
        raise ValueError(
            f"{name} must have AEDAT version 2.0, got {version.decode('ascii', 'replace')}; "
            "read_recording reads 3.1 and 4"
        )
    return lines, end


def _camera(lines: list[bytes], address: np.ndarray, chip: str | None, name: str) -> Chip:
    """The camera of `chip` or of the file; without both a DVS128, if all addresses are valid."""
    if chip is not None:
        return find_chip(chip, "chip")
    matches = (_CHIP.fullmatch(line) for line in lines)
    names = sorted({match[1].decode("ascii", "replace") for match in matches if match})
    if len(names) > 1:
        raise ValueError(f"{name} must have one AEChip, got {', '.join(names)}")
    if names:
        return find_chip(names[0], f"AEChip of {name}")
    camera = CHIPS["dvs128"]
    invalid = (address & camera.unused) != 0
    if invalid.any():
        at = int(invalid.argmax())
        raise ValueError(
            f"{name} has no AEChip line, and event {at} is not from a DVS128 "
            f"(address {address[at]:#010x}); pass chip to read_aedat2"
        )
    return camera
