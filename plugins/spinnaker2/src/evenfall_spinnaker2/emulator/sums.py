"""The sums of a PE: each event adds its row of weights to the accumulators. Compiled by Numba."""

from __future__ import annotations

import numpy as np
from numba import njit

from . import columns as col
from .columns import Tables

_TOP = np.int32(1 << 23)
_MASK = np.int32((1 << 24) - 1)


@njit(error_model="numpy", inline="always")
def wrap(value: np.int32) -> np.int32:
    """The lower 24 bits as a number in two's complement."""
    return np.int32(((value + _TOP) & _MASK) - _TOP)


@njit(error_model="numpy", nogil=True, cache=True)
def find_range(tables: Tables, pe: int, key: int, start: int) -> int:
    """The source range of a key, looked for from `start` on and then from the first; -1 if none."""
    first, end = tables.pes[pe, col.RANGE], tables.pes[pe, col.RANGE_END]
    for at in range(start, end):
        offset = key - tables.ranges[at, col.RANGE_KEY]
        if offset < 0:
            break
        if offset < tables.ranges[at, col.RANGE_COUNT]:
            return at
    for at in range(first, start):
        offset = key - tables.ranges[at, col.RANGE_KEY]
        if 0 <= offset < tables.ranges[at, col.RANGE_COUNT]:
            return at
    return -1


@njit(error_model="numpy", nogil=True, cache=True)
def row_of(tables: Tables, q: int, source: int) -> int:
    """The row of weights of a source unit, after pooling; -1 beyond the last whole window."""
    pool_y, pool_x = tables.projections[q, col.POOL_Y], tables.projections[q, col.POOL_X]
    if pool_y == 1 and pool_x == 1:
        return source
    height, width = tables.projections[q, col.HEIGHT], tables.projections[q, col.WIDTH]
    x, line = source % width, source // width
    y, channel = line % height, line // height
    if y // pool_y >= height // pool_y or x // pool_x >= width // pool_x:
        return -1
    return (channel * (height // pool_y) + y // pool_y) * (width // pool_x) + x // pool_x


@njit(error_model="numpy", nogil=True, cache=True)
def add_event(tables: Tables, pe: int, q: int, source: int, payload: float) -> int:
    """Add one event in fp32; returns the number of additions."""
    row = row_of(tables, q, source)
    if row < 0:
        return 0
    sums, weights = tables.accumulators, tables.weights
    first = tables.pes[pe, col.ACCUMULATOR] + tables.projections[q, col.FIRST_ACCUMULATOR]
    if tables.projections[q, col.IS_CONV]:
        return convolve(tables, pe, q, row, payload)
    if tables.projections[q, col.IS_SPARSE]:
        pointer, index = tables.projections[q, col.POINTER], tables.projections[q, col.INDEX]
        start, end = tables.pointers[pointer + row], tables.pointers[pointer + row + 1]
        weight = tables.projections[q, col.WEIGHT]
        for at in range(start, end):
            target = first + tables.indices[index + at]
            sums[target] = sums[target] + weights[weight + at] * payload
        return end - start
    rows = tables.projections[q, col.ROWS]
    weight = tables.projections[q, col.WEIGHT] + row * rows
    target_row, weight_row = sums[first : first + rows], weights[weight : weight + rows]
    for at in range(rows):
        target_row[at] = target_row[at] + weight_row[at] * payload
    return rows


@njit(error_model="numpy", nogil=True, cache=True)
def convolve(tables: Tables, pe: int, q: int, row: int, payload: float) -> int:
    """Add one event of a convolution, fp32 or int8; returns the number of additions."""
    table = tables.projections[q]
    first, is_int8 = tables.pes[pe, col.ACCUMULATOR], tables.pes[pe, col.IS_INT8]
    height = table[col.HEIGHT] // table[col.POOL_Y]
    width = table[col.WIDTH] // table[col.POOL_X]
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
                at = target + out * area
                if is_int8:
                    product = np.int32(tables.weights[weight + out] * payload)
                    tables.short[at] = wrap(tables.short[at] + product)
                else:
                    product = tables.weights[weight + out] * payload
                    tables.accumulators[at] = tables.accumulators[at] + product
            additions += channels
    return additions


@njit(error_model="numpy", nogil=True, cache=True)
def add_event_int8(tables: Tables, pe: int, q: int, source: int, payload: float) -> int:
    """Add one event to the 24-bit accumulators; returns the number of additions."""
    row = row_of(tables, q, source)
    if row < 0:
        return 0
    if tables.projections[q, col.IS_CONV]:
        return convolve(tables, pe, q, row, payload)
    first = tables.pes[pe, col.ACCUMULATOR] + tables.projections[q, col.FIRST_ACCUMULATOR]
    weight = tables.projections[q, col.WEIGHT]
    if tables.projections[q, col.IS_SPARSE]:
        pointer, index = tables.projections[q, col.POINTER], tables.projections[q, col.INDEX]
        start, end = tables.pointers[pointer + row], tables.pointers[pointer + row + 1]
        for at in range(start, end):
            target = first + tables.indices[index + at]
            product = np.int32(tables.weights[weight + at] * payload)
            tables.short[target] = wrap(tables.short[target] + product)
        return end - start
    rows = tables.projections[q, col.ROWS]
    for at in range(rows):
        product = np.int32(tables.weights[weight + row * rows + at] * payload)
        tables.short[first + at] = wrap(tables.short[first + at] + product)
    return rows


@njit(error_model="numpy", nogil=True, cache=True)
def close_segment(tables: Tables, pe: int) -> None:
    """Add the 24-bit accumulators to the 32-bit ones and clear them."""
    first = tables.pes[pe, col.ACCUMULATOR]
    for at in range(first, first + tables.pes[pe, col.UNITS]):
        tables.long[at] = np.int32(tables.long[at] + tables.short[at])
        tables.short[at] = 0


@njit(error_model="numpy", nogil=True, cache=True)
def add_queue(tables: Tables, pe: int) -> None:
    """Add all events of the queue, in its order, and empty it."""
    first, is_int8 = tables.pes[pe, col.QUEUE], tables.pes[pe, col.IS_INT8]
    at = tables.pes[pe, col.RANGE]
    last_projection, segment, additions = -1, 0, 0
    for place in range(first, first + tables.waiting[pe]):
        found = find_range(tables, pe, tables.keys[place], at)
        if found < 0:
            continue
        at = found
        q = tables.ranges[at, col.RANGE_PROJECTION]
        offset = tables.keys[place] - tables.ranges[at, col.RANGE_KEY]
        source, payload = tables.ranges[at, col.RANGE_UNIT] + offset, tables.payloads[place]
        if not is_int8:
            additions += add_event(tables, pe, q, source, payload)
            continue
        if q != last_projection:
            if last_projection >= 0 and not tables.pes[pe, col.ON_ARRIVAL]:
                close_segment(tables, pe)
            last_projection, segment = q, tables.projections[q, col.SEGMENT]
        reached = segment
        while (
            reached < tables.projections[q, col.SEGMENT_END] and source >= tables.segments[reached]
        ):
            reached += 1
        if reached > segment:
            close_segment(tables, pe)
            segment = reached
        additions += add_event_int8(tables, pe, q, source, payload)
    if is_int8:
        close_segment(tables, pe)
    tables.operations[pe] += additions
    tables.waiting[pe] = 0
