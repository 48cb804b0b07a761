"""AEDAT 4 recordings, as DV writes them, through the package aedat."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from ...extras import require
from .limits import MOST_EVENTS, check_count, read_bytes
from .recording import Recording

MAGIC = b"#!AER-DAT4"


def read_aedat4(path: Path) -> tuple[Recording, tuple[int, ...] | None]:
    """The events, and the size of the sensor. Frames and other streams are skipped.

    Raises:
        ImportError: aedat is not installed.
        ValueError: the file has several streams of events or none, or cannot be decoded.
    """
    require("io", str(path), "aedat")
    import aedat

    _check_sizes(read_bytes(path))
    decoder = aedat.Decoder(path)
    streams = {
        number: stream
        for number, stream in decoder.id_to_stream().items()
        if stream.get("type") == "events"
    }
    if len(streams) != 1:
        raise ValueError(f"it must have one stream of events, got {len(streams)}")
    ((number, stream),) = streams.items()
    parts, count = [], 0
    for packet in decoder:
        if packet["stream_id"] == number:
            parts.append(packet["events"].copy())
            count += len(parts[-1])
            check_count(count, "events", MOST_EVENTS)
    t, x, y, p = (
        np.concatenate([np.zeros(0, np.int64), *(part[name].astype(np.int64) for part in parts)])
        for name in ("t", "x", "y", "on")
    )
    return Recording(t, x, y, p), (int(stream["width"]), int(stream["height"]))


def _check_sizes(raw: bytes) -> None:
    """Refuse sizes that the file does not have, and a description that is not text: the package
    ends the process on them.

    After the first line are the size of a header and the header, a FlatBuffers table whose second
    field says where the table of packets is; from there on nothing is read. In between are packets:
    number of the stream and size, int32 each, and the contents.

    Source: https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-4.0.html
    """
    at = raw.find(b"\r\n") + 2
    try:
        (size,) = struct.unpack_from("<I", raw, at)
        start = at + 4 + size
        if size < 16 or start > len(raw):
            raise ValueError(f"it cannot have a header of {size:,} bytes")
        end = _table_position(raw[at + 4 : start])
        at, end = start, len(raw) if end < 0 else end
        if not start <= end <= len(raw):
            raise ValueError(f"it cannot have a table of packets at byte {end:,}")
        while at < end:
            _, size = struct.unpack_from("<ii", raw, at)
            if not 0 <= size <= end - at - 8:
                raise ValueError(f"it cannot have {size:,} bytes in the packet at byte {at:,}")
            at += 8 + size
    except struct.error:
        raise ValueError("it is cut off") from None


def _table_position(header: bytes) -> int:
    """The second field of the FlatBuffers table IOHeader, int64; -1 if it has none. The third field
    is a description in XML, which must be UTF-8."""
    (root,) = struct.unpack_from("<I", header)
    fields = root - struct.unpack_from("<i", header, root)[0]
    if fields < 0:
        raise ValueError("its header is damaged")
    length, _, _, second, third = struct.unpack_from("<HHHHH", header, fields)
    if length < 10 or not third:
        raise ValueError("its header has no description")
    at = root + third
    at += struct.unpack_from("<I", header, at)[0]
    (size,) = struct.unpack_from("<I", header, at)
    if at + 4 + size > len(header):
        raise ValueError("its header is damaged")
    header[at + 4 : at + 4 + size].decode("utf-8")
    return int(struct.unpack_from("<q", header, root + second)[0]) if second else -1
