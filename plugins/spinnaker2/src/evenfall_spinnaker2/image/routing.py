"""The routing table of one chip: multicast keys and masks, as 32-byte entries."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evenfall.errors import shorten

MAGIC, MAJOR, MINOR = b"EVRT", 1, 0
HEADER = struct.Struct("<4sHHII")
ENTRY = np.dtype([("key", "<u4"), ("mask", "<u4"), ("links", "<u4"), ("pes", "<u4", (5,))])
"""links: bit 0 to 5, the links east, north-east, north, west, south-west, south; bit 31, the host.
pes: bit i of the 160 bits is processing element i of the chip."""

HOST_BIT = 1 << 31


@dataclass(frozen=True, eq=False)
class RoutingTable:
    """The entries of one router. A packet takes the first entry with key == packet & mask; without
    one it is dropped."""

    entries: Any = field(repr=False)

    def route(self, key: int) -> tuple[list[int], list[int], bool]:
        """Where a packet goes: links, processing elements, and whether to the host."""
        hits = np.flatnonzero((key & self.entries["mask"]) == self.entries["key"])
        if not len(hits):
            return [], [], False
        entry = self.entries[hits[0]]
        links = int(entry["links"])
        bits = np.unpackbits(entry["pes"].view(np.uint8), bitorder="little")
        return (
            [i for i in range(6) if links >> i & 1],
            np.flatnonzero(bits).tolist(),
            bool(links & HOST_BIT),
        )


def pack_table(table: RoutingTable) -> bytes:
    """The bytes of a table."""
    body = np.ascontiguousarray(table.entries).astype(ENTRY, copy=False).tobytes()
    return HEADER.pack(MAGIC, MAJOR, MINOR, len(table.entries), zlib.crc32(body)) + body


def unpack_table(data: bytes, limit: int, name: str = "routing table") -> RoutingTable:
    """The table in `data`.

    Args:
        data: the bytes of a file.
        limit: entries that a router has.
        name: begins error messages.

    Raises:
        ValueError: damaged, from a newer version, too many entries, or a key outside of its mask.
    """
    if len(data) < HEADER.size:
        raise ValueError(f"{name}: {len(data)} bytes, fewer than the header")
    magic, major, _, count, checksum = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise ValueError(f"{name}: starts with {shorten(magic)}, not {MAGIC!r}")
    if major != MAJOR:
        raise ValueError(f"{name}: format version {major}; this release reads {MAJOR}")
    if count > limit:
        raise ValueError(f"{name}: {count} entries; a router has {limit}")
    body = data[HEADER.size :]
    if len(body) != count * ENTRY.itemsize or zlib.crc32(body) != checksum:
        raise ValueError(f"{name}: the checksum or the length differs: the file is damaged")
    entries = np.frombuffer(body, ENTRY)
    if (entries["key"] & ~entries["mask"]).any():
        raise ValueError(f"{name}: a key has bits that its mask ignores")
    return RoutingTable(entries)
