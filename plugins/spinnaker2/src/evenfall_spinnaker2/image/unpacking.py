"""Bytes to blobs, with every size, offset and code checked."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from evenfall.errors import shorten

from .blob import HEADER, MAGIC, MAJOR, PROJECTION, RANGE, Blob, Projection, SourceRange, aligned
from .checks import want
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

LIMIT = 1 << 24
"""No blob, count or offset exceeds this; the memory of a processing element is far smaller."""


def unpack(data: bytes, name: str = "blob") -> Blob:
    """The blob in `data`, checked: sizes, offsets, sums of lengths and the checksum.

    Raises:
        ValueError: damaged, from a newer version, or impossible; the message begins with `name`.
    """
    try:
        return _unpack(data)
    except (ValueError, struct.error, KeyError, IndexError, OverflowError) as error:
        raise ValueError(f"{name}: {error}") from None


def _unpack(data: bytes) -> Blob:
    want(len(data) >= HEADER.size, f"{len(data)} bytes, fewer than the header")
    (
        magic, major, _, size, checksum, kind, mode, arithmetic, flags, units, first_key,
        accumulators, projections, ranges, at_projections, at_ranges, at_parameters, depth,
        vector_units, steps, zoneout, *places, end, address, level,
    ) = HEADER.unpack_from(data)  # fmt: skip
    want(magic == MAGIC, f"starts with {shorten(magic)}, not {MAGIC!r}")
    want(major == MAJOR, f"format version {major}; this release reads {MAJOR}")
    want(size == len(data), f"states {size} bytes, has {len(data)}")
    want(max(size, units, projections, ranges, depth, steps) < LIMIT, "an absurd size")
    plain = data[:12] + bytes(4) + data[16:]
    want(zlib.crc32(plain) == checksum, "the checksum differs: the file is damaged")
    read = _reader(data)
    words = frozenset(word for word, bit in FLAGS.items() if flags & bit)
    want(sum(FLAGS[word] for word in words) == flags, f"unknown flags {flags:#x}")
    unit_kind = _word(UNIT_KINDS, kind)
    parameters, at = {}, at_parameters
    layout = parameter_layout(unit_kind, _word(ARITHMETICS, arithmetic), "scale" in words)
    for name, (dtype, count) in layout.items():
        parameters[name] = read(at, count * units, dtype)
        at += 4 * count * units
    mode_word = _word(MODES, mode)
    places_of = range(
        at_projections, at_projections + projections * PROJECTION.size, PROJECTION.size
    )
    blob = Blob(
        unit_kind,
        mode_word,
        _word(ARITHMETICS, arithmetic),
        units,
        first_key,
        tuple(_unpack_projection(data, place, mode_word, read) for place in places_of),
        tuple(
            SourceRange(*RANGE.unpack_from(data, at_ranges + RANGE.size * number))
            for number in range(ranges)
        ),
        parameters,
        depth,
        words,
        zoneout,
        steps,
        address,
        level,
    )
    _check(blob, accumulators, vector_units)
    expected, place = [], aligned(size)
    for part in blob.memory().values():
        expected.append(place)
        place += part
    want(places == expected and end == place, "the offsets of the memory after the blob")
    return blob


def _unpack_projection(
    data: bytes, place: int, mode: str, read: Callable[[int, int, str], Any]
) -> Projection:
    (
        kind, weight_format, index_bytes, pointer_bytes, source_units, rows, first, start,
        channels_in, height, width, pool_y, pool_x, kernel_y, kernel_x, stride_y, stride_x,
        padding_y, padding_x, out_y, out_x, first_channel, channels, first_row, out_rows, stored,
        at_weights, at_indices, at_pointers, segments, at_segments,
    ) = PROJECTION.unpack_from(data, place)  # fmt: skip
    word, form = _word(PROJECTION_KINDS, kind), _word(WEIGHT_FORMATS, weight_format)
    shape = (channels_in, height, width)
    want(source_units == channels_in * height * width, f"{source_units} sources in {shape}")
    want(0 < source_units < LIMIT and 0 < rows < LIMIT, "an absurd size of a projection")
    want(min(pool_y, pool_x, stride_y, stride_x) > 0, "a stride or pooling of 0")
    bare = Projection(
        word, form, shape, rows, np.zeros((0, kernel_y, kernel_x, 0)), first, None, None, start,
        (pool_y, pool_x), (stride_y, stride_x), (padding_y, padding_x), (out_y, out_x),
        first_channel, channels, first_row, out_rows,
        tuple(read(at_segments, segments, "<u4").tolist()),
    )  # fmt: skip
    weights = read(at_weights, stored, WEIGHT_DTYPES[form])
    lines, others = (bare.sources, rows) if mode == "events" else (rows, bare.sources)
    if word == "sparse":
        want(index_bytes in (1, 2, 4) and pointer_bytes in (2, 4), "the width of the indices")
        indices = read(at_indices, stored, f"<u{index_bytes}")
        pointers = read(at_pointers, lines + 1, f"<u{pointer_bytes}")
        ascends = pointers[0] == 0 and (pointers[1:] >= pointers[:-1]).all()
        want(bool(ascends) and pointers[-1] == stored, "the pointers of a sparse matrix")
        want(not stored or int(indices.max()) < others, "an index outside of the matrix")
        return replace(bare, weights=weights, indices=indices, pointers=pointers)
    if word == "dense":
        want(stored == lines * others, f"{stored} weights, want {lines} x {others}")
        return replace(bare, weights=weights.reshape(lines, others))
    want(rows == channels * out_rows * out_x, "the units of a convolution")
    want(first_row + out_rows <= out_y, "the rows of a convolution")
    wanted = (channels_in, kernel_y, kernel_x, channels)
    want(stored == np.prod(wanted, dtype=np.int64) and stored > 0, f"weights of shape {wanted}")
    return replace(bare, weights=weights.reshape(wanted))


def _check(blob: Blob, accumulators: int, vector_units: int) -> None:
    want(blob.units > 0, "no units")
    want(accumulators == blob.accumulators, f"{accumulators} accumulators a unit")
    want(vector_units == blob.vector_units, f"a vector of {vector_units}")
    want(0 <= blob.zoneout < 1, f"zoneout {blob.zoneout}")
    want(blob.first_key + blob.units <= 1 << 32, "keys beyond 32 bits")
    reach = blob.units * blob.accumulators
    for one in blob.projections:
        want(one.first_accumulator + one.rows <= reach, "a projection beyond the accumulators")
        gathers = blob.mode == "gather" and (one.kind == "conv" or one.pool != (1, 1))
        want(not gathers, "a convolution or pooling in gather mode")
        want(one.vector_start + one.source_units <= max(vector_units, one.source_units), "vector")
        want(list(one.segments) == sorted(set(one.segments)), "the order of the segments")
        is_int8 = one.weight_format == "int8"
        want(is_int8 or blob.arithmetic != "int8", f"{one.weight_format} in int8 arithmetic")
    after = 0
    for given in blob.ranges:
        want(given.first_key >= after and given.count > 0, "source ranges do not ascend")
        after = given.first_key + given.count
        want(given.projection < len(blob.projections), "a source range without projection")
        units = blob.projections[given.projection].source_units
        want(given.first_unit + given.count <= units, "a source range beyond its population")


def _word(codes: dict[str, int], code: int) -> str:
    for word, number in codes.items():
        if number == code:
            return word
    raise ValueError(f"unknown code {code}; known are {codes}")


def _reader(data: bytes) -> Callable[[int, int, str], Any]:
    def read(place: int, count: int, dtype: str) -> Any:
        size = np.dtype(dtype).itemsize * count
        want(HEADER.size <= place and place + size <= len(data), "an array beyond the end")
        return np.frombuffer(data, dtype, count, place)

    return read
