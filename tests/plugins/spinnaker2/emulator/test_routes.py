"""Packets are followed through the tables; tables that contradict themselves are refused."""

from __future__ import annotations

import numpy as np
import pytest

from evenfall_spinnaker2.emulator.routes import Routes
from evenfall_spinnaker2.image import ENTRY, RoutingTable
from evenfall_spinnaker2.image.routing import HOST_BIT

EAST, WEST = 1 << 0, 1 << 3
ALL = 0xFFFFFFFF


def table(*rows: tuple[int, int, int, list[int]]) -> RoutingTable:
    """Rows of key, mask, links, PEs."""
    entries = np.zeros(len(rows), ENTRY)
    for entry, (key, mask, links, pes) in zip(entries, rows, strict=True):
        entry["key"], entry["mask"], entry["links"] = key, mask, links
        for pe in pes:
            entry["pes"][pe // 32] |= np.uint32(1 << pe % 32)
    return RoutingTable(entries)


def sets(routes: Routes, chip: tuple[int, int], keys: list[int]) -> tuple[list[list[int]], list]:
    numbers, host = routes.follow(chip, np.array(keys))
    found = routes.destinations()
    spans = [slice(found.pointers[n], found.pointers[n + 1]) for n in numbers]
    return [found.pes[span].tolist() for span in spans], host.tolist()


def test_the_first_entry_that_fits_decides_and_links_lead_on() -> None:
    tables = {
        (0, 0): table((4, ALL, 0, [1]), (0, ~7 & ALL, EAST, [0, 1]), (8, ALL, HOST_BIT, [])),
        (1, 0): table((2, ALL, 0, [151]), (0, ~7 & ALL, HOST_BIT, [3])),
    }
    pes = {((0, 0), 0): 10, ((0, 0), 1): 11, ((1, 0), 3): 12, ((1, 0), 151): 13}
    routes = Routes(tables, pes)
    reached, host = sets(routes, (0, 0), [1, 2, 4, 8, 9])
    assert reached == [[10, 11, 12], [10, 11, 13], [11], [], []]
    assert host == [True, False, False, True, False]
    assert sets(routes, (1, 0), [1])[0] == [[12]]


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({(0, 0): table((0, 0, EAST, [])), (1, 0): table((0, 0, WEST, []))}, "in a circle"),
        ({(0, 0): table((0, 0, WEST, []))}, r"leads to \(-1, 0\), not in use"),
        ({(0, 0): table((0, 0, 0, [7]))}, "PE 7, which has no blob"),
    ],
)
def test_impossible_routes_are_refused(tables: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Routes(tables, {}).follow((0, 0), np.arange(3))


def test_a_packet_that_reaches_a_pe_twice_is_refused() -> None:
    north_east, south = 1 << 1, 1 << 5
    tables = {
        (0, 0): table((0, 0, EAST | north_east, [])),
        (1, 0): table((0, 0, 0, [2])),
        (1, 1): table((0, 0, south, [])),
    }
    with pytest.raises(ValueError, match="reaches a PE twice"):
        Routes(tables, {((1, 0), 2): 0}).follow((0, 0), np.arange(3))
