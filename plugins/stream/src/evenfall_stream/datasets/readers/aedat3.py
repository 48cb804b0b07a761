"""AEDAT 3.1 recordings, as cAER writes them.

Text lines that start with '#', from "#!AER-DAT3.1" to "#!END-HEADER", then packets: a header of 28
bytes (type int16, source int16, and int32: size of an event, offset of its time, overflows of its
time, capacity, number, number valid), then the events. A polarity event (type 1) has 32 bits: bit
0 valid, bit 1 ON, 2-16 y, 17-31 x; then an int32 time in microseconds, to which each overflow adds
2**31. All is little endian; x and y count from the upper left.

Source: iniVation, AEDAT 3.1,
https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-3.1.html
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np

from evenfall.errors import shorten

from .limits import MOST_EVENTS, check_count, read_bytes
from .recording import Recording

MAGIC = b"#!AER-DAT3"
_HEADER = struct.Struct("<hhiiiiii")
_EVENT = np.dtype([("data", "<u4"), ("t", "<i4")])
_SIZES = {"DVS128": (128, 128), "DAVIS240": (240, 180), "DAVIS346": (346, 260),
          "DAVIS128": (128, 128), "DAVIS208": (208, 192), "DAVIS640": (640, 480)}  # fmt: skip


def read_aedat3(source: Path | bytes) -> tuple[Recording, tuple[int, ...] | None]:
    """The valid polarity events, and the size of the sensor if the camera is known.

    Packets of frames, inertial samples and so on are skipped.

    Raises:
        ValueError: it is another version, compressed, cut off, or from several cameras.
    """
    raw = source if isinstance(source, bytes) else read_bytes(source)
    lines, at = _text(raw)
    form = next((line[9:].strip() for line in lines if line.startswith("#Format: ")), "RAW")
    if form.upper() != "RAW":
        raise ValueError(f"its packets must have the format RAW, got {form}")
    parts: list[tuple[np.ndarray, int]] = []
    sources: set[int] = set()
    while at < len(raw):
        if len(raw) - at < _HEADER.size:
            raise ValueError(f"it ends within the header of the packet at byte {at}")
        kind, camera, size, _, overflow, capacity, number, _ = _HEADER.unpack_from(raw, at)
        at += _HEADER.size
        if size < 1 or not 0 <= number <= capacity or overflow < 0:
            raise ValueError(
                f"the packet at byte {at - _HEADER.size} has impossible sizes: {number} of "
                f"{capacity} events of {size} bytes"
            )
        if number * size > len(raw) - at:
            raise ValueError(f"it ends within the packet at byte {at - _HEADER.size}")
        if kind == 1:
            if size != _EVENT.itemsize:
                raise ValueError(f"a polarity event must have 8 bytes, got {size}")
            parts.append((np.frombuffer(raw, _EVENT, number, at), overflow))
            sources.add(camera)
        at += number * size
    if len(sources) > 1:
        raise ValueError(f"its events must be of one source, got {sorted(sources)}")
    check_count(sum(len(events) for events, _ in parts), "events", MOST_EVENTS)
    empty: np.ndarray = np.zeros(0, np.int64)
    data = np.concatenate([empty, *(events["data"].astype(np.int64) for events, _ in parts)])
    t = np.concatenate(
        [empty, *(events["t"].astype(np.int64) + (over << 31) for events, over in parts)]
    )
    valid = (data & 1).astype(bool)
    data, t = data[valid], t[valid]
    return Recording(t, data >> 17 & 0x7FFF, data >> 2 & 0x7FFF, data >> 1 & 1), _size(lines)


def _text(raw: bytes) -> tuple[list[str], int]:
    end = re.search(rb"^#!END-HEADER\r?\n", raw[: 2**20], re.MULTILINE)
    if not raw.startswith(MAGIC + b".1") or end is None:
        raise ValueError(
            f"it must have AEDAT version 3.1 and a line #!END-HEADER, got {shorten(raw[:12])}"
        )
    return raw[: end.start()].decode("ascii", "replace").splitlines(), end.end()


def _size(lines: list[str]) -> tuple[int, ...] | None:
    names = {match[1] for line in lines if (match := re.match(r"#Source \d+: ([A-Z]+\d+)", line))}
    sizes = {_SIZES.get(name) for name in names}
    return sizes.pop() if len(sizes) == 1 else None
