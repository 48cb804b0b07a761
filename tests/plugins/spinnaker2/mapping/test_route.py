"""Every packet reaches exactly the processing elements that need it, through small tables."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from evenfall_spinnaker2.image import RoutingTable, pack_table, unpack_table
from evenfall_spinnaker2.image.routing import ENTRY
from evenfall_spinnaker2.lowering.sketch import sketch_egru
from evenfall_spinnaker2.mapped import map_network
from evenfall_spinnaker2.mapping.place import board_chips
from evenfall_spinnaker2.mapping.route import DIRECTIONS, _blocks, check_routes, route
from evenfall_spinnaker2.mapping.traffic import link_traffic
from evenfall_spinnaker2.settings import Settings

SKETCH = sketch_egru(300, (700, 500), 1.0, "fp32")


def test_board_of_48_chips_is_a_path_of_neighbours() -> None:
    chips = board_chips("48")
    assert len(set(chips)) == len(chips) == 48
    steps = {(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(chips)}
    assert steps <= set(DIRECTIONS)
    assert board_chips("3x2") == ((0, 0), (1, 0), (2, 0), (2, 1), (1, 1), (0, 1))


@pytest.mark.parametrize("board", ["48", "5x4"])
@pytest.mark.parametrize("pes", [148, 20])
def test_every_packet_arrives(board: str, pes: int) -> None:
    mapped = map_network(SKETCH, Settings(board=board, pes=pes))
    assert mapped.packets == 300 + 700 + 500
    assert len({one.chip for one in mapped.placed}) >= (2 if pes == 148 else 8)
    entries = [len(table.entries) for table in mapped.routes.tables.values()]
    assert max(entries) < 200


def test_packets_are_lost_without_an_entry() -> None:
    mapped = map_network(SKETCH, Settings(board="48"))
    tables = dict(mapped.routes.tables)
    chip = next(iter(tables))
    tables[chip] = RoutingTable(tables[chip].entries[1:])
    broken = replace(mapped.routes, tables=tables)
    with pytest.raises(ValueError, match=r"are lost at chip|packets arrived"):
        check_routes(broken, SKETCH, mapped.placed, mapped.chips)


def test_wrong_destination_is_found() -> None:
    mapped = map_network(SKETCH, Settings(board="48"))
    tables = dict(mapped.routes.tables)
    chip = next(iter(tables))
    entries = tables[chip].entries.copy()
    entries["pes"][:, 4] |= 1 << 20
    broken = replace(mapped.routes, tables=tables | {chip: RoutingTable(entries)})
    with pytest.raises(ValueError, match=r"a packet arrives at chip \(0, 0\) PE 148"):
        check_routes(broken, SKETCH, mapped.placed, mapped.chips)


def test_router_limit_is_named() -> None:
    mapped = map_network(SKETCH, Settings(board="48"))
    with pytest.raises(ValueError, match=r"chip .*: the router needs \d+ entries, it has 2"):
        route(SKETCH, mapped.placed, mapped.chips, 2)


@pytest.mark.parametrize(
    ("first", "stop"), [(0, 1024), (1024, 1500), (1023, 1025), (5, 6), (3, 997)]
)
def test_blocks_cover_a_range(first: int, stop: int) -> None:
    keys = [key + i for key, size in _blocks(first, stop) for i in range(size)]
    assert keys == list(range(first, stop))
    assert all(key % size == 0 for key, size in _blocks(first, stop))


def test_traffic_follows_the_activity() -> None:
    mapped = map_network(SKETCH, Settings(board="48", pes=40))
    full = link_traffic(mapped.routes, {})
    tenth = link_traffic(mapped.routes, {"input": 0.1, "layer 1": 0.1, "layer 2": 0.1})
    assert full
    assert sum(tenth.values()) == pytest.approx(sum(full.values()) / 10)


def test_damaged_table_is_refused() -> None:
    table = RoutingTable(np.zeros(3, ENTRY))
    data = pack_table(table)
    assert len(data) == 16 + 3 * 32
    assert len(unpack_table(data, 16).entries) == 3
    with pytest.raises(ValueError, match="3 entries; a router has 2"):
        unpack_table(data, 2)
    for at in (0, 4, 8, 20, len(data) - 1):
        changed = bytearray(data)
        changed[at] ^= 1
        with pytest.raises(ValueError, match="routing table"):
            unpack_table(bytes(changed), 16384)
    entries = np.zeros(1, ENTRY)
    entries["key"] = 1
    with pytest.raises(ValueError, match="a key has bits that its mask ignores"):
        unpack_table(pack_table(RoutingTable(entries)), 16)
