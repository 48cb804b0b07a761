"""The blob of one processing element: header, projections, source ranges, parameters, weights.

Everything is little-endian. Offsets count from the start of the blob. Each array starts at a
multiple of 4 bytes. The memory that the program uses follows the blob.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .codes import ACCUMULATORS, STATES

MAGIC, MAJOR, MINOR = b"EVS2", 1, 0
HEADER = struct.Struct("<4sHHIIHHHHIIIIIIIIIIIfIIIIIIIII20x")
PROJECTION = struct.Struct("<HHHHIIIIIIIHHHHHHHHHHIIIIIIIIII")
RANGE = struct.Struct("<IIII")
QUEUE_HEADER, EVENT = 16, 8


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


def aligned(place: int) -> int:
    """The first multiple of 4 that is not below `place`."""
    return -(-place // 4) * 4
