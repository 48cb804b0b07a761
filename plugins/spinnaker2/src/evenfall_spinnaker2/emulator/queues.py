"""Queues of events: arrival, order, loss. Compiled by Numba."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import columns as col
from .columns import Tables
from .compiled import compiled


@compiled
def send(tables: Tables, keys: Any, sets: Any, values: Any) -> int:
    """Send an event for each nonzero value; returns their number. A full queue loses events.

    The arrays have a key, the number of a set of PEs, and a value for each unit.
    """
    events = 0
    pes, queue_keys, payloads = tables.pes, tables.keys, tables.payloads
    waiting, lost, set_pes, pointers = (
        tables.waiting, tables.lost, tables.set_pes, tables.set_pointers,
    )  # fmt: skip
    for unit in range(len(values)):
        value = values[unit]
        if value == 0:
            continue
        events += 1
        for at in range(pointers[sets[unit]], pointers[sets[unit] + 1]):
            pe = set_pes[at]
            count = waiting[pe]
            if count >= pes[pe, col.QUEUE_DEPTH]:
                lost[pe] += 1
                continue
            place = pes[pe, col.QUEUE] + count
            queue_keys[place] = keys[unit]
            payloads[place] = value
            waiting[pe] = count + 1
    for pe in range(len(pes)):
        tables.peak[pe] = max(tables.peak[pe], waiting[pe])
    return events


@compiled
def sort_queue(tables: Tables, pe: int) -> None:
    """Sort the queue of a PE by key: merges ascending runs, of which there are few."""
    first, count = tables.pes[pe, col.QUEUE], tables.waiting[pe]
    keys, payloads = tables.keys[first : first + count], tables.payloads[first : first + count]
    merged_keys, merged_payloads = tables.merged_keys, tables.merged_payloads
    middle = 1
    while middle < count:
        while middle < count and keys[middle] >= keys[middle - 1]:
            middle += 1
        end = middle + 1
        while end < count and keys[end] >= keys[end - 1]:
            end += 1
        if middle >= count:
            return
        left, right = 0, middle
        for place in range(end):
            if right >= end or (left < middle and keys[left] <= keys[right]):
                merged_keys[place], merged_payloads[place] = keys[left], payloads[left]
                left += 1
            else:
                merged_keys[place], merged_payloads[place] = keys[right], payloads[right]
                right += 1
        for place in range(end):
            keys[place], payloads[place] = merged_keys[place], merged_payloads[place]
        middle = end


@compiled
def shuffle_queue(tables: Tables, pe: int) -> None:
    """Put the queue of a PE in a random order, by Numba's generator."""
    first = tables.pes[pe, col.QUEUE]
    for place in range(tables.waiting[pe] - 1, 0, -1):
        other = np.random.randint(0, place + 1)
        a, b = first + place, first + other
        tables.keys[a], tables.keys[b] = tables.keys[b], tables.keys[a]
        tables.payloads[a], tables.payloads[b] = tables.payloads[b], tables.payloads[a]


@compiled
def seed_orders(seed: int) -> None:
    """Seed the random orders."""
    np.random.seed(seed)
