"""Blobs as the flat arrays that the Numba loops read.

In gather mode a PE reads all its inputs, silent ones included. A silent input adds 0, which changes
no bit, so the emulator turns the matrices of gather mode into those of events mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..image import Blob, Projection
from ..image.codes import FLAGS as FLAG_BITS
from ..image.codes import STATES, UNIT_KINDS
from .columns import PE_COLUMNS, PROJECTION_COLUMNS, RANGE_COLUMNS, Tables


class Destinations:
    """The sets of PEs that events reach."""

    def __init__(self, sets: Sequence[Sequence[int]]) -> None:
        self.pointers = np.cumsum([0, *map(len, sets)]).astype(np.int64)
        self.pes: np.ndarray = np.array([pe for one in sets for pe in one], np.int64)


def make_tables(blobs: Sequence[Blob], destinations: Destinations) -> Tables:
    """The arrays of all PEs, with states of 0 and empty queues."""
    pes: np.ndarray = np.zeros((len(blobs), PE_COLUMNS), np.int64)
    flat = _Flat()
    unit = state = accumulator = queue = deepest = 0
    for row, blob in zip(pes, blobs, strict=True):
        parameter = flat.add_parameters(blob)
        first_range, end_range = flat.add_ranges(blob)
        flags = sum(FLAG_BITS[name] for name in blob.flags)
        # Without a queue, events are used on arrival, in any order: a queue for all gives the same.
        depth = blob.queue_depth or sum(one.count for one in blob.ranges)
        deepest = max(deepest, depth)
        row[:] = (
            UNIT_KINDS[blob.kind], blob.arithmetic == "int8", flags, blob.units, blob.first_key,
            blob.accumulators, unit, state, accumulator, parameter, queue, depth, first_range,
            end_range, blob.queue_depth == 0,
        )  # fmt: skip
        unit += blob.units
        state += blob.units * len(STATES[blob.kind])
        accumulator += blob.units * blob.accumulators
        queue += depth
    return Tables(
        pes,
        _table(flat.projections, PROJECTION_COLUMNS),
        _table(flat.ranges, RANGE_COLUMNS),
        np.array([blob.zoneout for blob in blobs], np.float32),
        _joined(flat.weights, np.float32),
        _joined(flat.indices, np.int32),
        _joined(flat.pointers, np.int64),
        _joined(flat.segments, np.int64),
        _joined(flat.parameters, np.float32),
        _joined(flat.biases, np.int32),
        np.zeros(state, np.float32),
        np.zeros(accumulator, np.float32),
        np.zeros(accumulator, np.int32),
        np.zeros(accumulator, np.int32),
        np.zeros(unit, np.float32),
        np.zeros(queue, np.int64),
        np.zeros(queue, np.float32),
        np.zeros(len(blobs), np.int64),
        np.zeros(len(blobs), np.int64),
        np.zeros(len(blobs), np.int64),
        np.zeros(len(blobs), np.int64),
        destinations.pointers,
        destinations.pes,
        np.zeros(deepest, np.int64),
        np.zeros(deepest, np.float32),
    )


class _Flat:
    """Arrays of all blobs, to be joined."""

    def __init__(self) -> None:
        self.projections: list[tuple[int, ...]] = []
        self.ranges: list[tuple[int, ...]] = []
        self.weights: list[np.ndarray] = []
        self.indices: list[np.ndarray] = []
        self.pointers: list[np.ndarray] = []
        self.segments: list[np.ndarray] = []
        self.parameters: list[np.ndarray] = []
        self.biases: list[np.ndarray] = []
        self._sizes: dict[int, int] = {}

    def add_parameters(self, blob: Blob) -> int:
        place = 0
        biases: np.ndarray = np.zeros(blob.units, np.int32)
        for number, (name, array) in enumerate(blob.parameters.items()):
            if blob.arithmetic == "int8" and name == "bias":
                biases = np.asarray(array)
                continue
            start = self._append(self.parameters, array)
            place = start if not number or blob.arithmetic == "int8" else place
        self.biases.append(biases)
        return place

    def add_ranges(self, blob: Blob) -> tuple[int, int]:
        base, start = len(self.projections), len(self.ranges)
        for one in blob.projections:
            self._add_projection(one, blob.mode)
        for span in blob.ranges:
            row = (span.first_key, span.count, base + span.projection, span.first_unit)
            self.ranges.append(row)
        return start, len(self.ranges)

    def _add_projection(self, one: Projection, mode: str) -> None:
        weights, indices, pointers = one.weights, one.indices, one.pointers
        if one.weight_format == "bf16":
            weights = (weights.astype(np.uint32) << np.uint32(16)).view(np.float32)
        if mode == "gather" and one.kind == "dense":
            weights = weights.T
        if mode == "gather" and one.kind == "sparse":
            weights, indices, pointers = by_source(weights, indices, pointers, one.sources)
        weight = self._append(self.weights, np.ascontiguousarray(weights).ravel())
        index = pointer = 0
        if one.kind == "sparse":
            index = self._append(self.indices, indices)
            pointer = self._append(self.pointers, pointers)
        segment = self._append(self.segments, np.asarray(one.segments, np.int64))
        self.projections.append((
            one.kind == "conv", one.kind == "sparse", one.rows, one.first_accumulator,
            *one.source_shape, *one.pool, *one.kernel, *one.stride, *one.padding, one.out_size[1],
            one.channels, one.first_row, one.out_rows, weight, index, pointer, segment,
            segment + len(one.segments), one.kind != "conv" and one.pool == (1, 1),
        ))  # fmt: skip

    def _append(self, arrays: list[np.ndarray], array: Any) -> int:
        place = self._sizes.get(id(arrays), 0)
        arrays.append(np.asarray(array))
        self._sizes[id(arrays)] = place + arrays[-1].size
        return place


def by_source(
    weights: np.ndarray, indices: np.ndarray, pointers: np.ndarray, sources: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A sparse matrix stored by rows, (indices are sources), stored by sources instead."""
    rows: np.ndarray = np.repeat(np.arange(len(pointers) - 1), np.diff(pointers.astype(np.int64)))
    order = np.argsort(indices, kind="stable")
    counts = np.bincount(indices, minlength=sources)
    return weights[order], rows[order], np.concatenate([[0], np.cumsum(counts)])


def _table(rows: list[tuple[int, ...]], columns: int) -> np.ndarray:
    return np.array(rows, np.int64).reshape(len(rows), columns)


def _joined(arrays: list[np.ndarray], dtype: type) -> np.ndarray:
    if not arrays:
        return np.zeros(0, dtype)
    return np.concatenate([array.astype(dtype, copy=False) for array in arrays])
