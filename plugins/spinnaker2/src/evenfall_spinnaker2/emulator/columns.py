"""The columns of the integer tables that the Numba loops read, one row a PE or a projection."""

from __future__ import annotations

from typing import Any, NamedTuple

# a processing element
(
    KIND, IS_INT8, FLAGS, UNITS, FIRST_KEY, ACCUMULATORS, UNIT, STATE, ACCUMULATOR, PARAMETER,
    QUEUE, QUEUE_DEPTH, RANGE, RANGE_END, ON_ARRIVAL, PE_COLUMNS,
) = range(16)  # fmt: skip

# a projection
(
    IS_CONV, IS_SPARSE, ROWS, FIRST_ACCUMULATOR, CHANNELS_IN, HEIGHT, WIDTH, POOL_Y, POOL_X,
    KERNEL_Y, KERNEL_X, STRIDE_Y, STRIDE_X, PADDING_Y, PADDING_X, OUT_WIDTH, CHANNELS, FIRST_ROW,
    OUT_ROWS, WEIGHT, INDEX, POINTER, SEGMENT, SEGMENT_END, IS_UNPOOLED, PROJECTION_COLUMNS,
) = range(26)  # fmt: skip

# a source range
RANGE_KEY, RANGE_COUNT, RANGE_PROJECTION, RANGE_UNIT, RANGE_COLUMNS = range(5)


class Tables(NamedTuple):
    """All processing elements as flat arrays. Numba takes a named tuple as one argument.

    Attributes:
        pes, projections, ranges: int64 tables with the columns above. UNIT, STATE, ACCUMULATOR,
            PARAMETER and QUEUE are the first places of a PE in the arrays below.
        zoneout: (PEs,) of EGRU.
        weights: fp32; bf16 and int8 weights are exact in it.
        indices, pointers, segments: of all projections.
        parameters: fp32, in the order of the blob; `biases` are the int32 ones of int8 arithmetic.
        state, accumulators: fp32; `short` and `long` are the 24-bit and 32-bit sums.
        outputs: what each unit sends, 0 if it is silent.
        keys, payloads: the queues; `waiting` events each, `lost` in all, `peak` at most.
        operations: synaptic operations of each PE since they were last cleared.
        set_pointers, set_pes: the PEs of each set.
        merged_keys, merged_payloads: memory to sort one queue.
    """

    pes: Any
    projections: Any
    ranges: Any
    zoneout: Any
    weights: Any
    indices: Any
    pointers: Any
    segments: Any
    parameters: Any
    biases: Any
    state: Any
    accumulators: Any
    short: Any
    long: Any
    outputs: Any
    keys: Any
    payloads: Any
    waiting: Any
    lost: Any
    peak: Any
    operations: Any
    set_pointers: Any
    set_pes: Any
    merged_keys: Any
    merged_payloads: Any
