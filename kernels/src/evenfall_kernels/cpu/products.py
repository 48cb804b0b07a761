"""Products of small matrices that stay in the cache, for loops that hold several of them.

A tile of the result stays in registers while its sum runs. Memory is flat float32. Bounds are not
checked.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from .avx512 import HAS_AVX512
from .simd import WIDTH

ROWS = 8 if HAS_AVX512 else 4
_LANES = 2 if HAS_AVX512 else 1
COLUMNS = _LANES * WIDTH
"""The tile that fits into the registers, 32 with AVX-512, half as wide or as many elsewhere."""

_FLOAT, _WORD = ir.FloatType(), ir.IntType(32)
_VECTOR = ir.VectorType(_FLOAT, WIDTH)
_FIRST = ir.Constant(ir.VectorType(_WORD, WIDTH), [0] * WIDTH)
_SIZE = types.intp


@intrinsic
def _add_tile(
    typing_context: Any, out: Any, out_at: Any, out_row: Any, a: Any, a_at: Any, a_row: Any,
    a_step: Any, b: Any, b_at: Any, b_row: Any, count: Any, keep: Any,
) -> Any:  # fmt: skip
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        out, out_at, out_row, a, a_at, a_row, a_step, b, b_at, b_row, count, keep = args
        index = count.type
        kinds = signature.args

        def memory(which: int, array: Any) -> Any:
            return context.make_array(kinds[which])(context, builder, array).data

        def vector_at(pointer: Any) -> Any:
            return builder.bitcast(pointer, _VECTOR.as_pointer())

        def copies(value: Any) -> Any:
            undefined = ir.Constant(_VECTOR, ir.Undefined)
            one = builder.insert_element(undefined, value, _WORD(0))
            return builder.shuffle_vector(one, undefined, _FIRST)

        def times(number: int, value: Any) -> Any:
            return builder.mul(index(number), value)

        start = builder.gep(memory(0, out), [out_at])
        places = [
            vector_at(builder.gep(start, [builder.add(times(i, out_row), index(j * WIDTH))]))
            for i in range(ROWS) for j in range(_LANES)
        ]  # fmt: skip
        kept = copies(keep)
        before = [builder.fmul(builder.load(place, align=4), kept) for place in places]
        start_a, start_b = builder.gep(memory(3, a), [a_at]), builder.gep(memory(7, b), [b_at])
        rows_a = [builder.gep(start_a, [times(i, a_row)]) for i in range(ROWS)]
        entry = builder.block
        loop, done = (builder.append_basic_block(name) for name in ("sum", "summed"))
        builder.branch(loop)

        builder.position_at_end(loop)
        k = builder.phi(index)
        k.add_incoming(index(0), entry)
        sums = [builder.phi(_VECTOR) for _ in places]
        row_b, column_a = builder.mul(k, b_row), builder.mul(k, a_step)
        vectors = [
            builder.load(
                vector_at(builder.gep(start_b, [builder.add(row_b, index(j * WIDTH))])), align=4
            )
            for j in range(_LANES)
        ]
        after = []
        for i, row in enumerate(rows_a):
            value = builder.load(builder.gep(row, [column_a]), align=4)
            factor = copies(value)
            for j, vector in enumerate(vectors):
                product = builder.fmul(factor, vector, flags=("contract",))
                after.append(builder.fadd(sums[i * _LANES + j], product, flags=("contract",)))
        following = builder.add(k, index(1))
        k.add_incoming(following, loop)
        for total, first, last in zip(sums, before, after, strict=True):
            total.add_incoming(first, entry)
            total.add_incoming(last, loop)
        builder.cbranch(builder.icmp_signed("<", following, count), loop, done)

        builder.position_at_end(done)
        for place, total in zip(places, after, strict=True):
            builder.store(total, place, align=4)
        return context.get_dummy_value()

    sizes = [_SIZE] * 2
    return types.void(
        out, *sizes, a, _SIZE, *sizes, b, *sizes, _SIZE, types.float32
    ), generate  # fmt: skip


@njit(error_model="numpy", nogil=True)
def add_product(
    out: Any, out_at: int, out_row: int, a: Any, a_at: int, a_row: int, a_step: int, b: Any,
    b_at: int, b_row: int, rows: int, columns: int, count: int, keep: np.float32,
) -> None:  # fmt: skip
    """out[i, j] = keep out[i, j] + sum over k of a[i, k] b[k, j], for `count` >= 1 values of k.

    out[i, j] is at out_at + i out_row + j, b[k, j] likewise, and a[i, k] at a_at + i a_row +
    k a_step. `rows` is a multiple of ROWS and `columns` of COLUMNS.
    """
    for j in range(0, columns, COLUMNS):
        for i in range(0, rows, ROWS):
            _add_tile(
                out, out_at + i * out_row + j, out_row, a, a_at + i * a_row, a_row, a_step, b,
                b_at + j, b_row, count, keep,
            )  # fmt: skip
