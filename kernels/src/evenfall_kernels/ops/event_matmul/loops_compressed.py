"""Compiled loops over compressed rows and over blocks: add the stored entries of units that fired.

Other compiled functions can call these. Bounds are not checked.

    I units   O outputs   nnz stored entries   n stored blocks
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types, uintp
from numba.extending import intrinsic

from ...cpu.compiled import compiled
from ...cpu.simd_memory import prefetch
from ...cpu.stored_dtypes import constant, conversion, widen
from .loops_dense import FAST

Array = np.ndarray

_FLOAT, _WORD = ir.FloatType(), ir.IntType(32)


@compiled(fastmath=FAST)
def add_rows_compressed(
    out: Array,
    coefficients: Array,
    rows: Array,
    count: int,
    values: Array,
    columns: Array,
    row_starts: Array,
) -> None:
    """out[columns[e]] += coefficients[k] * values[e], k < count, for the entries e of row rows[k].

    out (O,) float32, coefficients (>= count,) float32, rows (>= count,) int64, values (nnz,) in a
    dtype that `widen` knows, columns (nnz,) uint16 or int32, row_starts (I + 1,) int64. No column
    may be twice in a row: eight entries are read before the first of them is written.
    """
    for k in range(count):
        c, row = coefficients[k], rows[k]
        start, stop = row_starts[row], row_starts[row + 1]
        following = row_starts[rows[min(k + 1, count - 1)]]
        v, at = values[start:stop], columns[start:stop]
        size, e = v.shape[0], 0
        while e + 8 <= size:
            if not e & 8:
                prefetch(values, following + e)
            o0, o1, o2, o3 = uintp(at[e]), uintp(at[e + 1]), uintp(at[e + 2]), uintp(at[e + 3])
            o4, o5, o6, o7 = uintp(at[e + 4]), uintp(at[e + 5]), uintp(at[e + 6]), uintp(at[e + 7])
            s0, s1 = out[o0] + c * widen(v[e]), out[o1] + c * widen(v[e + 1])
            s2, s3 = out[o2] + c * widen(v[e + 2]), out[o3] + c * widen(v[e + 3])
            s4, s5 = out[o4] + c * widen(v[e + 4]), out[o5] + c * widen(v[e + 5])
            s6, s7 = out[o6] + c * widen(v[e + 6]), out[o7] + c * widen(v[e + 7])
            out[o0], out[o1], out[o2], out[o3] = s0, s1, s2, s3
            out[o4], out[o5], out[o6], out[o7] = s4, s5, s6, s7
            e += 8
        while e < size:
            out[uintp(at[e])] += c * widen(v[e])
            e += 1


@intrinsic(prefer_literal=True)
def _add_block(
    typing_context: Any,
    out: Any,
    column: Any,
    coefficient: Any,
    values: Any,
    block: Any,
    width: Any,
) -> Any:
    """out[column : column + width] += coefficient * values[block], as one vector operation.

    A loop over a few entries would be left to LLVM, which keeps some of them scalar.
    """
    convert, size = conversion(values.dtype), width.literal_value
    if convert is None:
        return None

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        out_type, values_type = signature.args[0], signature.args[3]
        vector = ir.VectorType(_FLOAT, size)
        target = context.make_array(out_type)(context, builder, args[0]).data
        target = builder.bitcast(builder.gep(target, [args[1]]), vector.as_pointer())
        source = context.make_array(values_type)(context, builder, args[3]).data
        stored = ir.VectorType(source.type.pointee, size)
        first = builder.mul(args[4], constant(args[4].type, size))
        source = builder.bitcast(builder.gep(source, [first]), stored.as_pointer())
        nothing = ir.Constant(vector, ir.Undefined)
        one = builder.insert_element(nothing, args[2], _WORD(0))
        places = constant(ir.VectorType(_WORD, size), 0)
        factor = builder.shuffle_vector(one, nothing, places)
        value = convert(builder, builder.load(source, align=1))
        product = builder.fmul(factor, value, flags=("contract",))
        total = builder.fadd(builder.load(target, align=4), product, flags=("contract",))
        builder.store(total, target, align=4)
        return context.get_dummy_value()

    return types.void(out, types.uintp, types.float32, values, types.intp, width), generate


@compiled(fastmath=FAST)
def add_blocks(
    out: Array,
    coefficients: Array,
    rows: Array,
    count: int,
    values: Array,
    columns: Array,
    row_starts: Array,
) -> None:
    """out[columns[e] : columns[e] + width] += coefficients[k] * values[e], k < count, for the
    blocks e of row rows[k].

    values (n, width) C-contiguous, width 4, 8 or 16, columns (n,); the rest as in
    `add_rows_compressed`.
    """
    width = values.shape[1]
    for k in range(count):
        c, row = coefficients[k], rows[k]
        start, stop = row_starts[row], row_starts[row + 1]
        if width == 16:
            for e in range(start, stop):
                _add_block(out, uintp(columns[uintp(e)]), c, values, e, 16)
        elif width == 8:
            for e in range(start, stop):
                _add_block(out, uintp(columns[uintp(e)]), c, values, e, 8)
        else:
            for e in range(start, stop):
                _add_block(out, uintp(columns[uintp(e)]), c, values, e, 4)
