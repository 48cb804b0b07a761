"""The compiled call of egru_step: one token through embedding, layers and decoder.

It takes the table of `layout` and a row of numbers, so that a call costs two arguments for any
number of layers. Scratch memory belongs to the call: threads may share a stack.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, float32, njit

from ...cpu.compiled import compiled
from ...cpu.scalar_math import FAST
from ...cpu.stored_dtypes import widen
from ..egru_scan.row_loops import add, blend, fire, sigmoid_sum, tanh_gated
from ..event_matmul.loops_dense import NO_SCALE, list_fired
from .adders import call_adder
from .layout import (
    ABSENT,
    ADDER,
    AFTER_LAYERS,
    BFLOAT16,
    BIAS,
    COLUMNS,
    EMBEDDING,
    ENTRY_COLUMNS,
    FIRST_LAYER,
    FLOAT16,
    FLOAT32,
    INPUT_TABLE,
    INT8,
    KERNEL,
    PER_LAYER,
    RECURRENT_BIAS,
    RECURRENT_KERNEL,
    ROW_STARTS,
    ROWS,
    SCALE,
    STORED,
    THRESHOLD,
    VALUES,
    WIDTH,
    pointer,
)

Array = np.ndarray

BATCH, OUT, FIRST_ID = 0, 1, 2  # what `numbers` begins with; then ids, then 4 addresses a layer
STATE = 4


@njit(error_model="numpy", nogil=True)
def _vector(address: int, size: int) -> Any:
    return carray(pointer(address), (size,), np.float32)


@njit(error_model="numpy", nogil=True)
def _add_fired(
    out: Array, coefficients: Array, rows: Array, count: int, matrix: Array, start: int, stop: int,
    scaled: Array,
) -> None:  # fmt: skip
    """out[start:stop] += sum_k coefficients[k] scale[rows[k]] M[rows[k], start:stop], k < count.

    matrix (9,) int64: a row of the table; scaled (>= count,) is scratch memory.
    """
    if matrix[SCALE] != 0:
        scale = _vector(matrix[SCALE], matrix[ROWS])
        for k in range(count):
            scaled[k] = coefficients[k] * scale[rows[k]]
        coefficients = scaled
    sizes = (count, start, stop, matrix[ROWS], matrix[COLUMNS], matrix[WIDTH])
    memory = (matrix[VALUES], matrix[ENTRY_COLUMNS], matrix[ROW_STARTS])
    call_adder(matrix[ADDER], out, coefficients, rows, sizes, memory)


@njit(error_model="numpy", nogil=True)
def _widen_all(out: Array, stored: Array) -> None:
    for i in range(out.shape[0]):
        out[i] = widen(stored[i])


@compiled()
def read_row(out: Array, matrix: Array, row: int) -> None:
    """out (O,) = row of a dense matrix, in float32."""
    kind, width = matrix[STORED], matrix[COLUMNS]
    size = 4 if kind == FLOAT32 else 2
    values = pointer(matrix[VALUES] + row * width * size)
    if kind == FLOAT32:
        _widen_all(out, carray(values, (width,), np.float32))
    elif kind == BFLOAT16:
        _widen_all(out, carray(values, (width,), np.uint16))
    elif kind == FLOAT16:
        _widen_all(out, carray(values, (width,), np.int16))


@njit(error_model="numpy", nogil=True)
def _widen_column(out: Array, stored: Array, column: int) -> None:
    for i in range(out.shape[0]):
        out[i] = widen(stored[i, column])


@compiled()
def read_column(out: Array, matrix: Array, column: int) -> None:
    """out (I,) = column of a dense matrix times the scale of each row, in float32."""
    kind, shape = matrix[STORED], (matrix[ROWS], matrix[COLUMNS])
    values = pointer(matrix[VALUES])
    if kind == FLOAT32:
        _widen_column(out, carray(values, shape, np.float32), column)
    elif kind == BFLOAT16:
        _widen_column(out, carray(values, shape, np.uint16), column)
    elif kind == FLOAT16:
        _widen_column(out, carray(values, shape, np.int16), column)
    elif kind == INT8:
        _widen_column(out, carray(values, shape, np.int8), column)
    if matrix[SCALE] != 0:
        scale = _vector(matrix[SCALE], matrix[ROWS])
        for i in range(out.shape[0]):
            out[i] *= scale[i]


@njit(error_model="numpy", nogil=True)
def _add_bias(out: Array, matrix: Array, scratch: Array) -> None:
    bias = scratch[: out.shape[0]]
    read_row(bias, matrix, 0)
    add(out, out, bias)


@compiled(fastmath=FAST)
def _advance(
    y: Array, h: Array, h_before: Array, gates: Array, product: Array, weights: Array,
    scratch: Array,
) -> None:  # fmt: skip
    """y and h after the pointwise part of a layer; gates has x W + b and product has y' R."""
    units = y.shape[0]
    bias, threshold = scratch[: 3 * units], scratch[3 * units : 4 * units]
    cell = scratch[4 * units : 5 * units]
    read_row(bias, weights[RECURRENT_BIAS], 0)
    read_row(threshold, weights[THRESHOLD], 0)
    for i in range(units):
        t = threshold[i]
        threshold[i] = float32(0) if t < 0 else (float32(1) if t > 1 else t)
    zr, g = gates[: 2 * units], gates[2 * units : 3 * units]
    candidate = product[2 * units : 3 * units]
    sigmoid_sum(zr, gates[: 2 * units], product[: 2 * units], bias[: 2 * units])
    add(candidate, candidate, bias[2 * units :])
    tanh_gated(g, g, gates[units : 2 * units], candidate)
    for i in range(units):  # assigning a slice compiles an error message for seconds
        h[i] = h_before[i]
    blend(cell, gates[:units], h, g)
    fire(y, h, cell, threshold)


@compiled(fastmath=FAST)
def decode(table: Any, numbers: Any, start: int, stop: int) -> None:
    """Columns start to stop - 1 of the logits, from the outputs y of the last layer."""
    last = table.shape[0] - AFTER_LAYERS
    batch, units, width = numbers[BATCH], table[last, ROWS], table[last, COLUMNS]
    rows, coefficients = np.empty(units, np.int64), np.empty(units, np.float32)
    scaled, bias = np.empty(units, np.float32), np.empty(width, np.float32)
    has_bias = table[last + 1, STORED] != ABSENT
    if has_bias:
        read_row(bias, table[last + 1], 0)
    for b in range(batch):
        y = _vector(numbers[-2] + 4 * b * units, units)
        out = _vector(numbers[OUT] + 4 * b * width, width)
        out[start:stop] = float32(0)
        count = list_fired(y, NO_SCALE, rows, coefficients)
        _add_fired(out, coefficients, rows, count, table[last], start, stop, scaled)
        if has_bias:
            add(out[start:stop], out[start:stop], bias[start:stop])


@compiled(fastmath=FAST)
def step(table: Any, numbers: Any, words_are_columns: bool, decodes: bool) -> int:
    """Run one token; returns the number of events of the last layer.

    numbers (2 + B + 4 L,) int64: B, the address of the logits (B, V) float32, the ids, and for each
    layer the addresses of y' and h' before, y and h after the token, each (B, H) float32.
    """
    batch = numbers[BATCH]
    layers = (table.shape[0] - FIRST_LAYER - AFTER_LAYERS) // PER_LAYER
    states = FIRST_ID + batch
    inputs = table[EMBEDDING, ROWS if words_are_columns else COLUMNS]
    widest = inputs
    for layer in range(layers):
        widest = max(widest, table[FIRST_LAYER + PER_LAYER * layer + THRESHOLD, COLUMNS])
    # Inputs and former outputs that are not zero; then gates, product and scratch.
    rows, y_rows = np.empty(widest, np.int64), np.empty(widest, np.int64)
    coefficients, y_coefficients = np.empty(widest, np.float32), np.empty(widest, np.float32)
    memory = np.empty(11 * widest, np.float32)
    fired = 0
    for b in range(batch):
        x = memory[:inputs]
        if words_are_columns:
            read_column(x, table[EMBEDDING], numbers[FIRST_ID + b])
        else:
            read_row(x, table[EMBEDDING], numbers[FIRST_ID + b])
        count = list_fired(x, NO_SCALE, rows, coefficients)
        for layer in range(layers):
            weights = table[FIRST_LAYER + PER_LAYER * layer : FIRST_LAYER + PER_LAYER * (layer + 1)]
            units, at = weights[THRESHOLD, COLUMNS], states + STATE * layer
            offset = 4 * b * units
            y_before = _vector(numbers[at] + offset, units)
            h_before = _vector(numbers[at + 1] + offset, units)
            y = _vector(numbers[at + 2] + offset, units)
            h = _vector(numbers[at + 3] + offset, units)
            gates = memory[: 3 * units]
            product, scratch = memory[3 * units : 6 * units], memory[6 * units :]
            if layer == 0 and table[INPUT_TABLE, STORED] != ABSENT:
                read_row(gates, table[INPUT_TABLE], numbers[FIRST_ID + b])
            else:
                gates[:] = float32(0)
                _add_fired(gates, coefficients, rows, count, weights[KERNEL], 0, 3 * units, scratch)
            _add_bias(gates, weights[BIAS], scratch)
            product[:] = float32(0)
            y_count = list_fired(y_before, NO_SCALE, y_rows, y_coefficients)
            _add_fired(
                product, y_coefficients, y_rows, y_count, weights[RECURRENT_KERNEL], 0, 3 * units,
                scratch,
            )  # fmt: skip
            _advance(y, h, h_before, gates, product, weights, scratch)
            count = list_fired(y, NO_SCALE, rows, coefficients)
        fired += count
    if decodes:
        decode(table, numbers, 0, table[table.shape[0] - AFTER_LAYERS, COLUMNS])
    return fired
