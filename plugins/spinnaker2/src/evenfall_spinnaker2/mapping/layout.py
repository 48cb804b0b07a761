"""Which form the weights of a slice of units take, and how many bytes it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from evenfall.errors import shorten
from evenfall_spinnaker2.image.blob import HEADER, PROJECTION, RANGE, Blob
from evenfall_spinnaker2.image.codes import parameter_layout
from evenfall_spinnaker2.lowering.network import Convolution, Network, Population, Projection
from evenfall_spinnaker2.lowering.precision import SPIKING
from evenfall_spinnaker2.lowering.sketch import Sketch

WEIGHT_BYTES = {"fp32": 4, "bf16": 2, "int8": 1}


@dataclass(frozen=True)
class Options:
    """What the mapping depends on.

    Attributes:
        mode: "events" or "gather".
        queue_depth: events of a queue; None: enough for every source, at most `default_events`.
        default_events: see queue_depth.
        accumulator_bits: of int8 arithmetic.
        index_bytes, pointer_bytes: widths of sparse matrices; None: the smallest; a width makes
            every matrix sparse.
        recorded_steps: steps that the recording buffers hold.
        record_values: whether they hold values beside events.
    """

    mode: str = "events"
    queue_depth: int | None = None
    default_events: int = 1024
    accumulator_bits: int = 24
    index_bytes: int | None = None
    pointer_bytes: int | None = None
    recorded_steps: int = 0
    record_values: bool = False


class PopulationLayout:
    """Bytes of any slice of a population, in constant time.

    Args:
        network: with a weight format for each projection.
        population: on the chip.
        options: of the mapping.
    """

    def __init__(self, network: Network, population: Population, options: Options) -> None:
        self.population, self.options = population, options
        self.incoming = network.incoming(population.name)
        sources = [network.populations[one.source] for one in self.incoming]
        self._counts_events = population.kind in SPIKING and all(
            one.kind in SPIKING or one.content == "events" for one in sources
        )
        self._nonzeros = [_nonzeros_before(one) for one in self.incoming]
        self.segments = [
            segments(
                one, "relu" not in network.populations[one.source].flags, options.accumulator_bits
            )
            if population.arithmetic == "int8" and not isinstance(one.operation.weights, Sketch)
            else ()
            for one in self.incoming
        ]
        self._fixed = HEADER.size + len(self.incoming) * (PROJECTION.size + RANGE.size)
        is_wide = any(isinstance(one.operation, Convolution) for one in self.incoming)
        self.mode = (
            "events" if is_wide or any(p.pool != (1, 1) for p in self.incoming) else (options.mode)
        )
        self.queue_depth = self._queue_depth()
        layout = parameter_layout(
            population.kind, population.arithmetic, "scale" in population.flags
        )
        self._parameters = sum(4 * count for _, count in layout.values())

    @property
    def is_convolution(self) -> bool:
        """Whether slices are whole channels, or rows of one channel."""
        return any(isinstance(one.operation, Convolution) for one in self.incoming)

    def _queue_depth(self) -> int:
        options = self.options
        if self.mode == "gather" or self.is_order_free:
            return 0
        if options.queue_depth is not None:
            return options.queue_depth
        sources = sum(_source_units(one) for one in self.incoming)
        return min(sources, options.default_events)

    @property
    def is_order_free(self) -> bool:
        """Whether the order of events cannot change a sum: int8 arithmetic without segments, or
        integer weights and spikes whose sums stay below 2^24."""
        if self.population.arithmetic == "int8":
            return not any(self.segments)
        if not self._counts_events:
            return False
        is_integer = all(one.weight_format == "int8" for one in self.incoming)
        if any(isinstance(one.operation.weights, Sketch) for one in self.incoming):
            return is_integer
        return is_integer and sum(int(_bound(one).max()) for one in self.incoming) < 1 << 24

    def weight_bytes(self, first: int, count: int) -> list[tuple[str, int]]:
        """For each projection, the form ("dense", "sparse" or "conv") and the bytes of weights,
        indices and pointers of a slice."""
        return [
            self._weights(number, one, first, count) for number, one in enumerate(self.incoming)
        ]

    def blob_bytes(self, first: int, count: int) -> int:
        """Bytes of the blob of a slice; at most 12 more than it has."""
        weights = sum(12 + size for _, size in self.weight_bytes(first, count))
        listed = 4 * sum(map(len, self.segments))
        return self._fixed + self._parameters * count + weights + listed

    def memory(self, count: int) -> dict[str, int]:
        """Bytes of each part after the blob."""
        return Blob.memory(_Sizes(self, count))  # type: ignore[arg-type]

    def bytes(self, first: int, count: int) -> int:
        """All bytes of a slice: blob, state, queue and recording."""
        return self.blob_bytes(first, count) + sum(self.memory(count).values())

    def index_bytes(self, one: Projection, count: int) -> int:
        """Bytes of an index of a sparse matrix: of its row (events), or of its source (gather)."""
        if self.options.index_bytes is not None:
            return self.options.index_bytes
        return _width(count * _groups(one) if self.mode == "events" else _sources(one))

    def pointer_bytes(self, nonzeros: int) -> int:
        """Bytes of a pointer of a sparse matrix."""
        if self.options.pointer_bytes is not None:
            return self.options.pointer_bytes
        return max(_width(nonzeros + 1), 2)

    def _weights(self, number: int, one: Projection, first: int, count: int) -> tuple[str, int]:
        size = WEIGHT_BYTES[one.weight_format or "fp32"]
        if isinstance(one.operation, Convolution):
            outputs, *rest = one.operation.weights.shape
            per_channel = self.population.units // outputs
            channels = -(-(first % per_channel + count) // per_channel)
            return "conv", channels * int(np.prod(rest)) * size
        before = self._nonzeros[number]
        nonzeros = int(before[first + count] - before[first])
        rows, sources = count * _groups(one), _sources(one)
        lines = sources if self.mode == "events" else rows
        sparse = nonzeros * (size + self.index_bytes(one, count))
        sparse += (lines + 1) * self.pointer_bytes(nonzeros)
        dense = rows * sources * size
        if self.options.index_bytes is not None or sparse < dense:
            return "sparse", sparse
        return "dense", dense


class _Sizes:
    """What Blob.memory reads."""

    def __init__(self, layout: PopulationLayout, count: int) -> None:
        self.units, self.mode = count, layout.mode
        self.kind, self.arithmetic = layout.population.kind, layout.population.arithmetic
        self.recorded_steps = layout.options.recorded_steps
        self.flags = {"record_values"} if layout.options.record_values else set()
        self.queue_depth = layout.queue_depth
        self.accumulators = 4 if self.kind == "egru" else 1
        gathers = layout.mode == "gather"
        self.vector_units = sum(map(_source_units, layout.incoming)) if gathers else 0


def segments(one: Projection, is_signed: bool, bits: int = 24) -> tuple[int, ...]:
    """Source units at which the accumulators must be cleared so that no sum of int8 products wraps.

    The sources send 0 to 127, or -127 to 127 if `is_signed`; the bound follows from the weights.

    Raises:
        ValueError: the products of one line of sources alone could exceed the accumulator.
    """
    limit = (1 << (bits - 1)) - 1
    plus, minus = (127 * bound for bound in _bounds(one))  # (lines, rows)
    if is_signed:
        plus = minus = plus + minus
    found = []
    sums = np.zeros((2, plus.shape[1]))
    for line in range(len(plus)):
        sums += (plus[line], minus[line])
        if sums.max() > limit:
            found.append(line * (_source_units(one) // len(plus)))
            sums[:] = (plus[line], minus[line])
        if sums.max() > limit:
            raise ValueError(
                f"layer {shorten(one.name)}: the int8 products of one source channel exceed "
                f"{bits} bits"
            )
    return tuple(found)


def _bounds(one: Projection) -> tuple[Any, Any]:
    """The sums of the positive and of the negative weights from each line of sources to each row. A
    line is a channel, or a unit if the source is flat."""
    channels = one.source_shape[0]
    weights = one.operation.weights.astype(np.int64)
    if isinstance(one.operation, Convolution):
        lines = weights.transpose(1, 2, 3, 0).reshape(channels, -1, len(weights))
    else:
        lines = weights.reshape(channels, -1, weights.shape[1] * weights.shape[2])
    times = one.pool[0] * one.pool[1]
    return np.maximum(lines, 0).sum(1) * times, np.maximum(-lines, 0).sum(1) * times


def _bound(one: Projection) -> Any:
    """The largest |sum| of each row, if every source sends 1."""
    plus, minus = _bounds(one)
    return np.maximum(plus.sum(0), minus.sum(0))


def _nonzeros_before(one: Projection) -> Any:
    """(H + 1,): the nonzeros of all units before each unit."""
    if isinstance(one.operation, Convolution):
        return None
    weights = one.operation.weights
    if isinstance(weights, Sketch):
        per_unit = weights.density * weights.shape[0] * weights.shape[1]
        return np.rint(per_unit * np.arange(weights.shape[2] + 1)).astype(np.int64)
    counts = np.count_nonzero(weights, axis=(0, 1))
    return np.concatenate([[0], np.cumsum(counts)])


def _groups(one: Projection) -> int:
    return int(one.operation.weights.shape[1])


def _sources(one: Projection) -> int:
    return int(one.operation.weights.shape[0])


def _source_units(one: Projection) -> int:
    channels, height, width = one.source_shape
    return channels * height * width


def _width(count: int) -> int:
    """Bytes of an unsigned integer below `count`."""
    return 1 if count <= 1 << 8 else 2 if count <= 1 << 16 else 4
