"""The blob of one processing element: header, projections, source ranges, parameters, weights.

Everything is little-endian. Offsets count from the start of the blob. Each array starts at a
multiple of 4 bytes. The memory that the program uses follows the blob.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from evenfall.errors import shorten

from .codes import (
    ACCUMULATORS,
    ARITHMETICS,
    FLAGS,
    MODES,
    PROJECTION_KINDS,
    STATES,
    UNIT_KINDS,
    WEIGHT_DTYPES,
    WEIGHT_FORMATS,
    parameter_layout,
)

MAGIC, MAJOR, MINOR = b"EVS2", 1, 0
HEADER = struct.Struct("<4sHHIIHHHHIIIIIIIIIIIfIIIIIIIII20x")
PROJECTION = struct.Struct("<HHHHIIIIIIIHHHHHHHHHHIIIIIIIIII")
RANGE = struct.Struct("<IIII")
QUEUE_HEADER, EVENT = 16, 8
LIMIT = 1 << 24
"""No blob, count or offset exceeds this; the memory of a processing element is far smaller."""


@dataclass(frozen=True, eq=False)
class SourceRange:
    """Events with the keys first_key .. first_key + count - 1 come from the source units first_unit
    .. of a projection."""

    first_key: int
    count: int
    projection: int
    first_unit: int


@dataclass(frozen=True, eq=False)
class Projection:
    """Weights from a source population to the units of this processing element.

    Attributes:
        kind: "dense" and "sparse" are matrices, "conv" a convolution (events mode).
        weight_format: "fp32", "bf16" (the upper half of an fp32 number) or "int8".
        source_shape: (channels, height, width) of the source population; flat ones are (N, 1, 1).
        rows: accumulators that a matrix reaches, from `first_accumulator` on. Of a convolution:
            the units of this processing element.
        weights: events mode: dense (sources, rows), sparse (nonzeros,); gather mode: dense (rows,
            sources), sparse (nonzeros,); conv (channels, kernel y, kernel x, channels_here).
        indices: of a sparse matrix: row of each nonzero (events), or its source (gather).
        pointers: of a sparse matrix: where each source (events) or row (gather) starts; one more.
        vector_start: gather mode: place of source 0 in the vector of inputs.
        pool: (y, x): source (c, y, x) counts as (c, y // pool y, x // pool x).
        stride, padding, out_size: (y, x) of a convolution.
        first_channel, channels, first_row, out_rows: the part of the output of a convolution.
        segments: int8 arithmetic: at these source units, ascending, the 24-bit accumulators are
            added to the 32-bit ones and cleared.
    """

    kind: str
    weight_format: str
    source_shape: tuple[int, int, int]
    rows: int
    weights: Any = field(repr=False)
    first_accumulator: int = 0
    indices: Any = field(default=None, repr=False)
    pointers: Any = field(default=None, repr=False)
    vector_start: int = 0
    pool: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    out_size: tuple[int, int] = (0, 0)
    first_channel: int = 0
    channels: int = 0
    first_row: int = 0
    out_rows: int = 0
    segments: tuple[int, ...] = ()

    @property
    def source_units(self) -> int:
        """Units of the source population."""
        channels, height, width = self.source_shape
        return channels * height * width

    @property
    def sources(self) -> int:
        """Rows of the matrix that a source can have: units after pooling."""
        channels, height, width = self.source_shape
        return channels * (height // self.pool[0]) * (width // self.pool[1])

    @property
    def kernel(self) -> tuple[int, int]:
        """(y, x) of a convolution; (0, 0) of a matrix."""
        return self.weights.shape[1:3] if self.kind == "conv" else (0, 0)


@dataclass(frozen=True, eq=False)
class Blob:
    """What one processing element computes. `pack` makes its bytes, `unpack` reads them.

    Attributes:
        kind: of the units: "egru", "dense", "if", "lif" or "cuba_lif".
        mode: "events" (a row of weights for each event) or "gather" (each unit reads all inputs).
        arithmetic: "float32", or "int8" activations with 24-bit accumulators.
        units: n.
        first_key: the key of unit 0; unit j has first_key + j.
        projections, ranges: ranges have ascending keys.
        parameters: arrays by name, see `codes.parameter_layout`.
        queue_depth: events that the queue holds.
        flags: of codes.FLAGS.
        zoneout: of EGRU.
        recorded_steps: steps that the recording buffer holds.
        load_address: where byte 0 lies in the memory of the processing element.
        level: layers on the chip below it; the units compute from tick `level` on.
    """

    kind: str
    mode: str
    arithmetic: str
    units: int
    first_key: int
    projections: tuple[Projection, ...]
    ranges: tuple[SourceRange, ...]
    parameters: Mapping[str, Any] = field(repr=False)
    queue_depth: int = 0
    flags: frozenset[str] = frozenset()
    zoneout: float = 0.0
    recorded_steps: int = 0
    load_address: int = 0
    level: int = 0

    @property
    def accumulators(self) -> int:
        """Accumulators of a unit."""
        return ACCUMULATORS[self.kind]

    @property
    def vector_units(self) -> int:
        """Length of the vector of inputs in gather mode, else 0."""
        return sum(p.source_units for p in self.projections) if self.mode == "gather" else 0

    def memory(self) -> dict[str, int]:
        """Bytes of each part of the memory after the blob, in order; each a multiple of 4."""
        n = self.units
        steps, values = self.recorded_steps, "record_values" in self.flags
        return {
            "state": 4 * n * len(STATES[self.kind]),
            "accumulators": 4 * n * self.accumulators * (2 if self.arithmetic == "int8" else 1),
            "vector": 4 * self.vector_units,
            "outputs": 4 * n,
            "queue": QUEUE_HEADER + EVENT * self.queue_depth,
            "recording": steps * (4 * -(-n // 32) + (4 * n if values else 0)),
        }


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
    places, end = [], _aligned(len(out))
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
    out += bytes(_aligned(len(out)) - len(out))
    place = len(out)
    out += np.ascontiguousarray(array).astype(dtype, copy=False).tobytes()
    out += bytes(_aligned(len(out)) - len(out))
    return place


def _aligned(place: int) -> int:
    return -(-place // 4) * 4


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
    _want(len(data) >= HEADER.size, f"{len(data)} bytes, fewer than the header")
    (
        magic, major, _, size, checksum, kind, mode, arithmetic, flags, units, first_key,
        accumulators, projections, ranges, at_projections, at_ranges, at_parameters, depth,
        vector_units, steps, zoneout, *places, end, address, level,
    ) = HEADER.unpack_from(data)  # fmt: skip
    _want(magic == MAGIC, f"starts with {shorten(magic)}, not {MAGIC!r}")
    _want(major == MAJOR, f"format version {major}; this release reads {MAJOR}")
    _want(size == len(data), f"states {size} bytes, has {len(data)}")
    _want(max(size, units, projections, ranges, depth, steps) < LIMIT, "an absurd size")
    plain = data[:12] + bytes(4) + data[16:]
    _want(zlib.crc32(plain) == checksum, "the checksum differs: the file is damaged")
    read = _reader(data)
    words = frozenset(word for word, bit in FLAGS.items() if flags & bit)
    _want(sum(FLAGS[word] for word in words) == flags, f"unknown flags {flags:#x}")
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
    expected, place = [], _aligned(size)
    for part in blob.memory().values():
        expected.append(place)
        place += part
    _want(places == expected and end == place, "the offsets of the memory after the blob")
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
    _want(source_units == channels_in * height * width, f"{source_units} sources in {shape}")
    _want(0 < source_units < LIMIT and 0 < rows < LIMIT, "an absurd size of a projection")
    _want(min(pool_y, pool_x, stride_y, stride_x) > 0, "a stride or pooling of 0")
    bare = Projection(
        word, form, shape, rows, np.zeros((0, kernel_y, kernel_x, 0)), first, None, None, start,
        (pool_y, pool_x), (stride_y, stride_x), (padding_y, padding_x), (out_y, out_x),
        first_channel, channels, first_row, out_rows,
        tuple(read(at_segments, segments, "<u4").tolist()),
    )  # fmt: skip
    weights = read(at_weights, stored, WEIGHT_DTYPES[form])
    lines, others = (bare.sources, rows) if mode == "events" else (rows, bare.sources)
    if word == "sparse":
        _want(index_bytes in (1, 2, 4) and pointer_bytes in (2, 4), "the width of the indices")
        indices = read(at_indices, stored, f"<u{index_bytes}")
        pointers = read(at_pointers, lines + 1, f"<u{pointer_bytes}")
        ascends = pointers[0] == 0 and (pointers[1:] >= pointers[:-1]).all()
        _want(bool(ascends) and pointers[-1] == stored, "the pointers of a sparse matrix")
        _want(not stored or int(indices.max()) < others, "an index outside of the matrix")
        return replace(bare, weights=weights, indices=indices, pointers=pointers)
    if word == "dense":
        _want(stored == lines * others, f"{stored} weights, want {lines} x {others}")
        return replace(bare, weights=weights.reshape(lines, others))
    _want(rows == channels * out_rows * out_x, "the units of a convolution")
    _want(first_row + out_rows <= out_y, "the rows of a convolution")
    wanted = (channels_in, kernel_y, kernel_x, channels)
    _want(stored == np.prod(wanted, dtype=np.int64) and stored > 0, f"weights of shape {wanted}")
    return replace(bare, weights=weights.reshape(wanted))


def _check(blob: Blob, accumulators: int, vector_units: int) -> None:
    _want(blob.units > 0, "no units")
    _want(accumulators == blob.accumulators, f"{accumulators} accumulators a unit")
    _want(vector_units == blob.vector_units, f"a vector of {vector_units}")
    _want(0 <= blob.zoneout < 1, f"zoneout {blob.zoneout}")
    _want(blob.first_key + blob.units <= 1 << 32, "keys beyond 32 bits")
    reach = blob.units * blob.accumulators
    for one in blob.projections:
        _want(one.first_accumulator + one.rows <= reach, "a projection beyond the accumulators")
        gathers = blob.mode == "gather" and (one.kind == "conv" or one.pool != (1, 1))
        _want(not gathers, "a convolution or pooling in gather mode")
        _want(one.vector_start + one.source_units <= max(vector_units, one.source_units), "vector")
        _want(list(one.segments) == sorted(set(one.segments)), "the order of the segments")
        is_int8 = one.weight_format == "int8"
        _want(is_int8 or blob.arithmetic != "int8", f"{one.weight_format} in int8 arithmetic")
    after = 0
    for given in blob.ranges:
        _want(given.first_key >= after and given.count > 0, "source ranges do not ascend")
        after = given.first_key + given.count
        _want(given.projection < len(blob.projections), "a source range without projection")
        units = blob.projections[given.projection].source_units
        _want(given.first_unit + given.count <= units, "a source range beyond its population")


def _word(codes: dict[str, int], code: int) -> str:
    for word, number in codes.items():
        if number == code:
            return word
    raise ValueError(f"unknown code {code}; known are {codes}")


def _want(holds: bool, problem: str) -> None:
    if not holds:
        raise ValueError(problem)


def _reader(data: bytes) -> Callable[[int, int, str], Any]:
    def read(place: int, count: int, dtype: str) -> Any:
        size = np.dtype(dtype).itemsize * count
        _want(HEADER.size <= place and place + size <= len(data), "an array beyond the end")
        return np.frombuffer(data, dtype, count, place)

    return read
