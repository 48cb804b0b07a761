"""Blobs to bytes."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np

from evenfall.errors import shorten

from .blob import HEADER, MAGIC, MAJOR, MINOR, PROJECTION, RANGE, Blob, Projection, aligned
from .codes import (
    ARITHMETICS,
    FLAGS,
    MODES,
    PROJECTION_KINDS,
    UNIT_KINDS,
    WEIGHT_DTYPES,
    WEIGHT_FORMATS,
    parameter_layout,
)


def pack(blob: Blob) -> bytes:
    """The bytes of a blob.

    Raises:
        ValueError: an array does not have the size that the blob states.
    """
    out = bytearray(HEADER.size)
    at_projections = len(out)
    out += bytes(PROJECTION.size * len(blob.projections))
    at_ranges = len(out)
    for one in blob.ranges:
        out += RANGE.pack(one.first_key, one.count, one.projection, one.first_unit)
    at_parameters = len(out)
    layout = parameter_layout(blob.kind, blob.arithmetic, "scale" in blob.flags)
    if list(layout) != list(blob.parameters):
        raise ValueError(f"parameters: got {shorten(list(blob.parameters))}, want {list(layout)}")
    for name, (dtype, count) in layout.items():
        array = np.asarray(blob.parameters[name])
        if array.shape != (count * blob.units,):
            raise ValueError(f"{name}: got shape {array.shape}, want ({count * blob.units},)")
        out += array.astype(dtype).tobytes()
    for number, projection in enumerate(blob.projections):
        row = _pack_projection(out, projection)
        PROJECTION.pack_into(out, at_projections + number * PROJECTION.size, *row)
    places, end = [], aligned(len(out))
    for size in blob.memory().values():
        places.append(end)
        end += size
    header = (
        MAGIC, MAJOR, MINOR, len(out), 0, UNIT_KINDS[blob.kind], MODES[blob.mode],
        ARITHMETICS[blob.arithmetic], sum(FLAGS[name] for name in blob.flags), blob.units,
        blob.first_key, blob.accumulators, len(blob.projections), len(blob.ranges),
        at_projections, at_ranges, at_parameters, blob.queue_depth, blob.vector_units,
        blob.recorded_steps, blob.zoneout, *places, end, blob.load_address, blob.level,
    )  # fmt: skip
    HEADER.pack_into(out, 0, *header)
    struct.pack_into("<I", out, 12, zlib.crc32(out))
    return bytes(out)


def _pack_projection(out: bytearray, one: Projection) -> tuple[int, ...]:
    """Append the arrays of a projection and return the fields of its row."""
    at_weights = _append(out, one.weights, WEIGHT_DTYPES[one.weight_format])
    at_indices = at_pointers = index_bytes = pointer_bytes = 0
    if one.kind == "sparse":
        index_bytes, pointer_bytes = one.indices.dtype.itemsize, one.pointers.dtype.itemsize
        at_indices = _append(out, one.indices, f"<u{index_bytes}")
        at_pointers = _append(out, one.pointers, f"<u{pointer_bytes}")
    at_segments = _append(out, np.asarray(one.segments, "<u4"), "<u4")
    return (
        PROJECTION_KINDS[one.kind], WEIGHT_FORMATS[one.weight_format], index_bytes, pointer_bytes,
        one.source_units, one.rows, one.first_accumulator, one.vector_start, *one.source_shape,
        *one.pool, *one.kernel, *one.stride, *one.padding, *one.out_size, one.first_channel,
        one.channels, one.first_row, one.out_rows, one.weights.size, at_weights, at_indices,
        at_pointers, len(one.segments), at_segments,
    )  # fmt: skip


def _append(out: bytearray, array: Any, dtype: str) -> int:
    out += bytes(aligned(len(out)) - len(out))
    place = len(out)
    out += np.ascontiguousarray(array).astype(dtype, copy=False).tobytes()
    out += bytes(aligned(len(out)) - len(out))
    return place
