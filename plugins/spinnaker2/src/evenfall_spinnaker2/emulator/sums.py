"""The sums of a PE: each event adds its row of weights to the accumulators. Compiled by Numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from . import columns as col
from .columns import Tables
from .compiled import compiled

_TOP = np.int32(1 << 23)
_MASK = np.int32((1 << 24) - 1)


@njit(error_model="numpy", inline="always")
def wrap(value: np.int32) -> np.int32:
    """The lower 24 bits as a number in two's complement."""
    return np.int32(((value + _TOP) & _MASK) - _TOP)


@compiled
def find_range(ranges: Any, first: int, end: int, key: int) -> int:
    """The source range of a key among those from `first` to `end`; -1 if it is in none."""
    for at in range(first, end):
        offset = key - ranges[at, col.RANGE_KEY]
        if offset < 0:
            break
        if offset < ranges[at, col.RANGE_COUNT]:
            return at
    return -1


@compiled
def row_of(table: Any, source: int) -> int:
    """The row of weights of a source unit, after pooling; -1 beyond the last whole window."""
    pool_y, pool_x = table[col.POOL_Y], table[col.POOL_X]
    if pool_y == 1 and pool_x == 1:
        return source
    height, width = table[col.HEIGHT], table[col.WIDTH]
    x, line = source % width, source // width
    y, channel = line % height, line // height
    if y // pool_y >= height // pool_y or x // pool_x >= width // pool_x:
        return -1
    return (channel * (height // pool_y) + y // pool_y) * (width // pool_x) + x // pool_x


@compiled
def add_convolved(
    sums: Any, weights: Any, table: Any, first: int, row: int, payload: float, is_int8: bool
) -> int:
    """Add one event of a convolution; returns the number of additions."""
    height, width = table[col.HEIGHT] // table[col.POOL_Y], table[col.WIDTH] // table[col.POOL_X]
    x, line = row % width, row // width
    y, channel = line % height, line // height
    channels, area = table[col.CHANNELS], table[col.OUT_ROWS] * table[col.OUT_WIDTH]
    additions = 0
    for kernel_y in range(table[col.KERNEL_Y]):
        up = y + table[col.PADDING_Y] - kernel_y
        out_y = up // table[col.STRIDE_Y] - table[col.FIRST_ROW]
        if up < 0 or up % table[col.STRIDE_Y] or out_y < 0 or out_y >= table[col.OUT_ROWS]:
            continue
        for kernel_x in range(table[col.KERNEL_X]):
            left = x + table[col.PADDING_X] - kernel_x
            out_x = left // table[col.STRIDE_X]
            if left < 0 or left % table[col.STRIDE_X] or out_x >= table[col.OUT_WIDTH]:
                continue
            tap = (channel * table[col.KERNEL_Y] + kernel_y) * table[col.KERNEL_X] + kernel_x
            weight = table[col.WEIGHT] + tap * channels
            target = first + out_y * table[col.OUT_WIDTH] + out_x
            for out in range(channels):
                _add(sums, target + out * area, weights[weight + out], payload, is_int8)
            additions += channels
    return additions


@njit(error_model="numpy", inline="always")
def _add(sums: Any, at: int, weight: np.float32, payload: np.float32, is_int8: bool) -> None:
    """Add one product: in fp32, or in the lower 24 bits of an int32."""
    if is_int8:
        sums[at] = wrap(np.int32(sums[at] + np.int32(weight * payload)))
    else:
        sums[at] = sums[at] + weight * payload


@compiled
def add_event(
    sums: Any, weights: Any, indices: Any, pointers: Any, table: Any, first: int, source: int,
    payload: float, is_int8: bool,
) -> int:  # fmt: skip
    """Add one event of a matrix or a convolution; returns the number of additions.

    Args:
        sums: accumulators of all PEs, fp32 or int32.
        weights, indices, pointers: of all projections.
        table: row of the projection.
        first: the first accumulator of the PE.
        source: number of the source unit.
        payload: of the event.
        is_int8: whether sums have 24 bits.
    """
    row = row_of(table, source)
    if row < 0:
        return 0
    if table[col.IS_CONV]:
        return add_convolved(sums, weights, table, first, row, payload, is_int8)
    first += table[col.FIRST_ACCUMULATOR]
    if table[col.IS_SPARSE]:
        start, end = pointers[table[col.POINTER] + row], pointers[table[col.POINTER] + row + 1]
        for at in range(start, end):
            target = first + indices[table[col.INDEX] + at]
            _add(sums, target, weights[table[col.WEIGHT] + at], payload, is_int8)
        return end - start
    rows = table[col.ROWS]
    weight = table[col.WEIGHT] + row * rows
    for at in range(rows):
        _add(sums, first + at, weights[weight + at], payload, is_int8)
    return rows


@compiled
def add_queue(tables: Tables, pe: int) -> None:
    """Add all events of the queue in fp32, in its order, and empty it."""
    table, additions = tables.pes[pe], 0
    sums, weights, ranges, projections = (
        tables.accumulators, tables.weights, tables.ranges, tables.projections,
    )  # fmt: skip
    indices, pointers, keys, payloads = (
        tables.indices, tables.pointers, tables.keys, tables.payloads,
    )  # fmt: skip
    first, first_range, end_range = table[col.ACCUMULATOR], table[col.RANGE], table[col.RANGE_END]
    at = -1
    for place in range(table[col.QUEUE], table[col.QUEUE] + tables.waiting[pe]):
        key = keys[place]
        inside = at >= 0 and 0 <= key - ranges[at, col.RANGE_KEY] < ranges[at, col.RANGE_COUNT]
        at = at if inside else find_range(ranges, first_range, end_range, key)
        if at < 0:
            continue
        q = ranges[at, col.RANGE_PROJECTION]
        source = ranges[at, col.RANGE_UNIT] + key - ranges[at, col.RANGE_KEY]
        if not projections[q, col.IS_UNPOOLED]:
            additions += add_event(
                sums, weights, indices, pointers, projections[q], first, source, payloads[place],
                False,
            )  # fmt: skip
            continue
        # Slices let LLVM vectorise the loops.
        payload, start = payloads[place], first + projections[q, col.FIRST_ACCUMULATOR]
        weight, rows = projections[q, col.WEIGHT], projections[q, col.ROWS]
        targets = sums[start : start + rows]
        if projections[q, col.IS_SPARSE]:
            pointer, index = projections[q, col.POINTER] + source, projections[q, col.INDEX]
            begin, end = pointers[pointer], pointers[pointer + 1]
            stored = weights[weight + begin : weight + end]
            places = indices[index + begin : index + end]
            for i in range(end - begin):
                targets[places[i]] = targets[places[i]] + stored[i] * payload
            additions += end - begin
        else:
            stored = weights[weight + source * rows : weight + (source + 1) * rows]
            for i in range(rows):
                targets[i] = targets[i] + stored[i] * payload
            additions += rows
    tables.operations[pe] += additions
    tables.waiting[pe] = 0


@compiled
def add_queue_int8(tables: Tables, pe: int) -> None:
    """Add all events of the queue in 24 bits, and each segment in 32 bits; empty the queue."""
    table, additions = tables.pes[pe], 0
    ranges, projections = tables.ranges, tables.projections
    at, last_projection, segment = -1, -1, 0
    for place in range(table[col.QUEUE], table[col.QUEUE] + tables.waiting[pe]):
        key = tables.keys[place]
        at = find_range(ranges, table[col.RANGE], table[col.RANGE_END], key)
        if at < 0:
            continue
        q = ranges[at, col.RANGE_PROJECTION]
        source = ranges[at, col.RANGE_UNIT] + key - ranges[at, col.RANGE_KEY]
        if q != last_projection:
            if last_projection >= 0 and not table[col.ON_ARRIVAL]:
                close_segment(tables.short, tables.long, table)
            last_projection, segment = q, projections[q, col.SEGMENT]
        reached, end = segment, projections[q, col.SEGMENT_END]
        while reached < end and source >= tables.segments[reached]:
            reached += 1
        if reached > segment:
            close_segment(tables.short, tables.long, table)
            segment = reached
        additions += add_event(
            tables.short, tables.weights, tables.indices, tables.pointers, projections[q],
            table[col.ACCUMULATOR], source, tables.payloads[place], True,
        )  # fmt: skip
    close_segment(tables.short, tables.long, table)
    tables.operations[pe] += additions
    tables.waiting[pe] = 0


@compiled
def close_segment(short: Any, long: Any, table: Any) -> None:
    """Add the 24-bit accumulators of a PE to the 32-bit ones and clear them."""
    first = table[col.ACCUMULATOR]
    for at in range(first, first + table[col.UNITS]):
        long[at] = np.int32(long[at] + short[at])
        short[at] = 0
