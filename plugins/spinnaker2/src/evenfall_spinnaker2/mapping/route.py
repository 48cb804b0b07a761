"""Route: keys of the populations, multicast trees between chips, and compressed tables.

The events of a population have consecutive keys from a base that is a multiple of a power of two
not below their number. So all of them, or a part, are covered by few pairs of key and mask.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evenfall.errors import shorten
from evenfall_spinnaker2.image.routing import ENTRY, HOST_BIT, RoutingTable
from evenfall_spinnaker2.lowering.network import Network

from .place import Placed

XY = tuple[int, int]
DIRECTIONS: tuple[XY, ...] = ((1, 0), (1, 1), (0, 1), (-1, 0), (-1, -1), (0, -1))
_ORDER = (1, 4, 0, 3, 2, 5)  # diagonals first


@dataclass(frozen=True, eq=False)
class Routes:
    """The tables of all routers, and what they must do.

    Attributes:
        keys: population -> key of its unit 0.
        tables: chip -> table.
        targets: population -> {chip: numbers of processing elements}.
        to_host: populations whose events the host receives.
        trees: (population, source chip, first unit, units, [(chip, link)]) of each tree.
    """

    keys: Mapping[str, int]
    tables: Mapping[XY, RoutingTable]
    targets: Mapping[str, Mapping[XY, tuple[int, ...]]]
    to_host: frozenset[str]
    trees: tuple[tuple[str, XY, int, int, tuple[tuple[XY, int], ...]], ...] = field(repr=False)


def assign_keys(network: Network) -> dict[str, int]:
    """The key of the first unit of each population; ascending with the levels.

    Raises:
        ValueError: 32 bits do not suffice.
    """
    keys, free = {}, 0
    for name, population in network.populations.items():
        size = 1 << (population.units - 1).bit_length()
        keys[name] = -(-free // size) * size
        free = keys[name] + size
    if free > 1 << 32:
        raise ValueError(f"the network has {free} keys; 32 bits hold {1 << 32}")
    return keys


def route(network: Network, placed: list[Placed], chips: tuple[XY, ...], limit: int) -> Routes:
    """Make the tables.

    Args:
        network: populations and projections.
        placed: where each slice lies.
        chips: of the board; the host is connected to the first.
        limit: entries that a router has.

    Raises:
        ValueError: a router would need more entries.
    """
    keys = assign_keys(network)
    places = _places(placed)
    to_host = frozenset(one.population for one in network.outputs)
    targets = {name: _targets(network, name, places) for name in network.populations}
    steps = _Steps(chips)
    rules: dict[XY, list[tuple[int, int, int, tuple[int, ...]]]] = {}
    trees = []
    for name, population in network.populations.items():
        base, padded = keys[name], 1 << (population.units - 1).bit_length()
        ends = set(targets[name]) | ({chips[0]} if name in to_host else set())
        for source, first, count in _parts(population.units, places.get(name), chips[0]):
            links = steps.tree(source, ends)
            trees.append((name, source, first, count, tuple(sorted(links))))
            stop = padded if first + count == population.units else first + count
            for chip in {source, *ends, *(xy for xy, _ in links)}:
                out = sum(1 << link for xy, link in links if xy == chip)
                if name in to_host and chip == chips[0]:
                    out |= HOST_BIT
                pes = targets[name].get(chip, ())
                if out or pes:
                    rules.setdefault(chip, []).append((base + first, base + stop, out, pes))
    tables = {chip: _table(rules.get(chip, []), chip, limit) for chip in chips if chip in rules}
    return Routes(keys, tables, targets, to_host, tuple(trees))


def _places(placed: list[Placed]) -> dict[str, dict[XY, list[Placed]]]:
    """The slices by population and chip."""
    places: dict[str, dict[XY, list[Placed]]] = {}
    for one in placed:
        places.setdefault(one.slice.population, {}).setdefault(one.chip, []).append(one)
    return places


def _targets(
    network: Network, name: str, places: Mapping[str, Mapping[XY, list[Placed]]]
) -> dict[XY, tuple[int, ...]]:
    found: dict[XY, set[int]] = {}
    for one in network.projections:
        if one.source == name:
            for chip, slices in places[one.target].items():
                found.setdefault(chip, set()).update(part.pe for part in slices)
    return {chip: tuple(sorted(pes)) for chip, pes in sorted(found.items())}


def _parts(
    units: int, places: Mapping[XY, list[Placed]] | None, host: XY
) -> list[tuple[XY, int, int]]:
    """(chip, first unit, units) of what lies together on a chip; a host population enters whole."""
    if places is None:
        return [(host, 0, units)]
    return [
        (chip, slices[0].slice.first, sum(one.slice.count for one in slices))
        for chip, slices in places.items()
    ]


class _Steps:
    """Shortest ways over the chips: from each chip, the tree of a breadth-first search."""

    def __init__(self, chips: tuple[XY, ...]) -> None:
        self._chips = set(chips)
        self._parents: dict[XY, dict[XY, tuple[XY, int]]] = {}

    def tree(self, source: XY, ends: Iterable[XY]) -> set[tuple[XY, int]]:
        """The (chip, link) pairs that packets from `source` take to all ends."""
        if source not in self._parents:
            self._parents[source] = self._search(source)
        parents, found = self._parents[source], set()
        for chip in ends:
            while chip != source:
                step = parents[chip]
                if step in found:
                    break
                found.add(step)
                chip = step[0]
        return found

    def _search(self, source: XY) -> dict[XY, tuple[XY, int]]:
        parents: dict[XY, tuple[XY, int]] = {}
        waiting = deque([source])
        while waiting:
            x, y = waiting.popleft()
            for link in _ORDER:
                beside = (x + DIRECTIONS[link][0], y + DIRECTIONS[link][1])
                if beside in self._chips and beside != source and beside not in parents:
                    parents[beside] = ((x, y), link)
                    waiting.append(beside)
        return parents


def _table(
    rules: list[tuple[int, int, int, tuple[int, ...]]], chip: XY, limit: int
) -> RoutingTable:
    """Entries for ranges of keys: neighbours with the same route are joined, then cut into blocks
    that a mask covers."""
    joined: list[list[Any]] = []
    for first, stop, links, pes in sorted(rules):
        if joined and joined[-1][1] == first and joined[-1][2:] == [links, pes]:
            joined[-1][1] = stop
        else:
            joined.append([first, stop, links, pes])
    rows = []
    for first, stop, links, pes in joined:
        bits: Any = np.zeros(160, np.uint8)
        bits[list(pes)] = 1
        words: Any = np.packbits(bits, bitorder="little").view("<u4")
        for key, size in _blocks(first, stop):
            rows.append((key, (1 << 32) - size, links, words))
    if len(rows) > limit:
        raise ValueError(f"chip {chip}: the router needs {len(rows)} entries, it has {limit}")
    return RoutingTable(np.array(rows, ENTRY))


def _blocks(first: int, stop: int) -> list[tuple[int, int]]:
    """The fewest (key, size) with size a power of two that divides key and that cover the range."""
    found = []
    while first < stop:
        size = first & -first or 1 << 32
        while size > stop - first:
            size >>= 1
        found.append((first, size))
        first += size
    return found


def check_routes(
    routes: Routes, network: Network, placed: list[Placed], chips: tuple[XY, ...]
) -> int:
    """Walk every packet from its source through the tables and compare where it arrives with where
    it must; returns the number of packets.

    Raises:
        ValueError: a packet is lost, arrives twice or at a wrong place, or runs in a circle.
    """
    places = _places(placed)
    packets = 0
    for name, population in network.populations.items():
        wanted = {(chip, pe) for chip, pes in routes.targets[name].items() for pe in pes}
        if name in routes.to_host:
            wanted.add((chips[0], -1))
        for chip, first, count in _parts(population.units, places.get(name), chips[0]):
            keys: Any = routes.keys[name] + np.arange(first, first + count, dtype=np.uint64)
            _walk(routes, name, keys.astype(np.uint32), chip, wanted)
            packets += count
    return packets


def _walk(routes: Routes, name: str, keys: Any, start: XY, wanted: set[tuple[XY, int]]) -> None:
    arrived = dict.fromkeys(wanted, 0)
    waiting, hops = [(start, keys)], 0
    while waiting:
        (x, y), now = waiting.pop()
        hops += 1
        if hops > 1 << 16:
            raise ValueError(f"population {shorten(name)}: its packets run in a circle")
        table = routes.tables.get((x, y))
        for entry in [] if table is None else table.entries:
            if not len(now):
                break
            hits = (now & entry["mask"]) == entry["key"]
            taken, now = now[hits], now[~hits]
            if not len(taken):
                continue
            links, bits = (
                int(entry["links"]),
                np.unpackbits(entry["pes"].view(np.uint8), bitorder="little"),
            )
            ends = np.flatnonzero(bits).tolist() + ([-1] if links & HOST_BIT else [])
            for pe in ends:
                if ((x, y), pe) not in arrived:
                    raise ValueError(
                        f"population {shorten(name)}: a packet arrives at chip {(x, y)} PE {pe}"
                    )
                arrived[(x, y), pe] += len(taken)
            for link, (step_x, step_y) in enumerate(DIRECTIONS):
                if links >> link & 1:
                    waiting.append(((x + step_x, y + step_y), taken))
        if len(now) and (wanted or len(now) < len(keys)):
            raise ValueError(
                f"population {shorten(name)}: {len(now)} packets are lost at chip {(x, y)}"
            )
    wrong = {place: count for place, count in arrived.items() if count != len(keys)}
    if wrong:
        raise ValueError(
            f"population {shorten(name)}: packets arrived {wrong}, want {len(keys)} at each"
        )
