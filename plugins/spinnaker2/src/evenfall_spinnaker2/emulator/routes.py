"""Follow every packet through the routing tables, once, before the emulation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..image import RoutingTable
from ..image.routing import HOST_BIT
from .compiled import compiled
from .tables import Destinations

_STEPS = ((1, 0), (1, 1), (0, 1), (-1, 0), (-1, -1), (0, -1))
"""Where the links lead: east, north-east, north, west, south-west, south."""

Chip = tuple[int, int]


@compiled
def _first_matches(keys: Any, entry_keys: Any, masks: Any, found: Any) -> None:
    for number in range(len(keys)):
        found[number] = -1
        for at in range(len(entry_keys)):
            if keys[number] & masks[at] == entry_keys[at]:
                found[number] = at
                break


class Routes:
    """Collects the PEs that packets reach.

    Args:
        tables: chip -> its routing table.
        pes: (chip, PE number) -> number of the PE in the image.
    """

    def __init__(
        self, tables: Mapping[Chip, RoutingTable], pes: Mapping[tuple[Chip, int], int]
    ) -> None:
        self.tables, self.pes = tables, pes
        self._sets: dict[tuple[int, ...], int] = {}

    def follow(self, chip: Chip, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Send one packet of each key from a chip.

        Returns:
            The number of the set of PEs that each key reaches, and whether it reaches the host.

        Raises:
            ValueError: a packet runs in a circle, leaves the board, reaches a PE twice, or arrives
                at a PE without blob.
        """
        keys = np.ascontiguousarray(keys, np.uint32)
        groups: list[tuple[np.ndarray, tuple[Chip, ...]]] = [(np.arange(len(keys)), (chip,))]
        reached: dict[int, list[tuple[np.ndarray, tuple[int, ...]]]] = {}
        host: np.ndarray = np.zeros(len(keys), bool)
        marks: np.ndarray = np.zeros(
            len(keys), np.uint64
        )  # equal where the same entries were taken
        while groups:
            members, path = groups.pop()
            for at, part in self._split(path[-1], keys, members):
                entry = self.tables[path[-1]].entries[at]
                mark = hash((path, at)) & 0xFFFFFFFFFFFFFFFF
                marks[part] = marks[part] * np.uint64(0x9E3779B97F4A7C15) + np.uint64(mark)
                reached.setdefault(int(part[0]), [])
                reached[int(part[0])].append((part, self._pes_of(path[-1], entry)))
                links = int(entry["links"])
                host[part] |= bool(links & HOST_BIT)
                groups += [(part, (*path, self._next(path, i))) for i in range(6) if links >> i & 1]
        return self._numbers(marks, reached), host

    def _split(
        self, chip: Chip, keys: np.ndarray, members: np.ndarray
    ) -> list[tuple[int, np.ndarray]]:
        """The packets at a chip by the entry that they take; those without entry are dropped."""
        table = self.tables.get(chip)
        if table is None or not len(table.entries):
            return []
        found: np.ndarray = np.empty(len(members), np.int64)
        entry_keys = np.ascontiguousarray(table.entries["key"])
        masks = np.ascontiguousarray(table.entries["mask"])
        _first_matches(keys[members], entry_keys, masks, found)
        return [(int(at), members[found == at]) for at in np.unique(found[found >= 0])]

    def _pes_of(self, chip: Chip, entry: Any) -> tuple[int, ...]:
        bits = np.unpackbits(entry["pes"].view(np.uint8), bitorder="little")
        numbers = []
        for pe in np.flatnonzero(bits).tolist():
            if (chip, pe) not in self.pes:
                raise ValueError(
                    f"routing of chip {chip}: packets reach PE {pe}, which has no blob"
                )
            numbers.append(self.pes[chip, pe])
        return tuple(numbers)

    def _next(self, path: tuple[Chip, ...], link: int) -> Chip:
        (x, y), (right, up) = path[-1], _STEPS[link]
        chip = (x + right, y + up)
        if chip not in self.tables:
            raise ValueError(f"routing of chip {path[-1]}: link {link} leads to {chip}, not in use")
        if chip in path:
            raise ValueError(f"routing of chip {path[-1]}: packets run in a circle through {chip}")
        return chip

    def _numbers(
        self,
        marks: np.ndarray,
        reached: Mapping[int, list[tuple[np.ndarray, tuple[int, ...]]]],
    ) -> np.ndarray:
        """The number of the set of each packet; packets with equal marks have equal sets."""
        values, firsts, inverse = np.unique(marks, return_index=True, return_inverse=True)
        parts: dict[int, list[int]] = {int(first): [] for first in firsts}
        for rows in reached.values():
            for packets, pes in rows:
                for first in np.intersect1d(packets, firsts, assume_unique=True).tolist():
                    parts[first] += pes
        numbers: np.ndarray = np.zeros(len(values), np.int64)
        for at, first in enumerate(firsts.tolist()):
            members = sorted(parts[first])
            if len(set(members)) < len(members):
                raise ValueError("routing: a packet reaches a PE twice")
            numbers[at] = self._sets.setdefault(tuple(members), len(self._sets))
        return numbers[inverse]

    def destinations(self) -> Destinations:
        """All sets found so far."""
        return Destinations(list(self._sets))
