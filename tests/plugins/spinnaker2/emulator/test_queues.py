"""Queues: events are sorted by key, shuffled, lost when there is no room."""

from __future__ import annotations

import numpy as np
import pytest

from evenfall_spinnaker2.emulator.queues import seed_orders, send, shuffle_queue, sort_queue
from evenfall_spinnaker2.emulator.tables import Destinations, by_source, make_tables

from ..random_blobs import egru


def queue(keys: list[int]):
    """Tables of one PE, after events with these keys and ten times the key plus 1."""
    tables = make_tables([egru(0, "events", "dense", "fp32")], Destinations([[0]]))
    units: np.ndarray = np.array(keys, np.int64)
    assert send(tables, units, 0 * units, (10 * units + 1).astype(np.float32)) == len(keys)
    return tables


@pytest.mark.parametrize("seed", range(6))
def test_sorting_keeps_each_payload_with_its_key(seed: int) -> None:
    random = np.random.default_rng(seed)
    keys = random.permutation(40)[: random.integers(0, 40)].tolist()
    if seed % 2:  # ascending runs, as they arrive
        keys = sorted(keys[:9]) + sorted(keys[9:])
    tables = queue(keys)
    sort_queue(tables, 0)
    assert tables.keys[: len(keys)].tolist() == sorted(keys)
    assert tables.payloads[: len(keys)].tolist() == [10 * key + 1 for key in sorted(keys)]


def test_shuffling_depends_on_the_seed_alone() -> None:
    orders = []
    for seed in (1, 1, 2):
        tables = queue(list(range(20)))
        seed_orders(seed)
        shuffle_queue(tables, 0)
        orders.append(tables.keys[:20].tolist())
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[2]) == list(range(20))


def test_a_full_queue_loses_what_comes_last() -> None:
    tables = queue(list(range(45)))
    assert tables.waiting[0] == tables.peak[0] == 40
    assert tables.lost[0] == 5
    assert tables.keys[:40].tolist() == list(range(40))


def test_a_matrix_by_rows_becomes_one_by_sources() -> None:
    random = np.random.default_rng(0)
    dense = random.normal(size=(6, 5)) * (random.random((6, 5)) < 0.4)
    rows, sources = np.nonzero(dense)
    pointers = np.concatenate([[0], np.bincount(rows, minlength=6).cumsum()])
    weights, indices, starts = by_source(dense[rows, sources], sources, pointers, 5)
    back = np.zeros((6, 5))
    for source in range(5):
        span = slice(starts[source], starts[source + 1])
        back[indices[span], source] = weights[span]
    np.testing.assert_array_equal(back, dense)
