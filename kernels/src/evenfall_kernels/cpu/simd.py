"""`Lanes`: a vector of sixteen float32 as one value in Numba loops.

LLVM vectorises a plain loop only if it can prove that its arrays do not overlap. It leaves a kernel
over a dozen arrays scalar. `Lanes` is a vector type of its own: +, -, *, / take two Lanes, or Lanes
and a float32. On a machine with narrower registers LLVM uses several of them. Arrays have shape
(rows, 16), dtype float32, and are C-contiguous. Bounds are not checked.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, overload, register_model

WIDTH = 16

_FLOAT, _WORD = ir.FloatType(), ir.IntType(32)
_VECTOR, _BITS = ir.VectorType(_FLOAT, WIDTH), ir.VectorType(_WORD, WIDTH)


class LanesType(types.Type):
    """The Numba type of a vector of sixteen float32."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


lanes = LanesType()


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, frontend_type: Any) -> None:
        super().__init__(manager, frontend_type, _VECTOR)


def _pointer(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, args[0])
    offset = builder.mul(args[1], ir.Constant(args[1].type, WIDTH))
    return builder.bitcast(builder.gep(array.data, [offset]), _VECTOR.as_pointer())


@intrinsic
def load(typing_context: Any, array: Any, row: Any) -> Any:
    """array[row]."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_pointer(context, builder, signature, args), align=4)

    return lanes(array, types.intp), generate


@intrinsic
def store(typing_context: Any, array: Any, row: Any, value: Any) -> Any:
    """array[row] = value."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], _pointer(context, builder, signature, args), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), generate


@intrinsic
def broadcast(typing_context: Any, value: Any) -> Any:
    """Sixteen copies of a float32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        one = builder.insert_element(undefined, args[0], _WORD(0))
        return builder.shuffle_vector(one, undefined, ir.Constant(_BITS, [0] * WIDTH))

    return lanes(types.float32), generate


@intrinsic
def where_less(typing_context: Any, a: Any, b: Any, then: Any, other: Any) -> Any:
    """then where a < b, else other; with NaN a < b is false."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", args[0], args[1]), args[2], args[3])

    return lanes(lanes, lanes, lanes, lanes), generate


@intrinsic
def add_to_exponent(typing_context: Any, value: Any, rounder: Any) -> Any:
    """value * 2^n, where rounder is 1.5 * 2^23 + n, which has n in its last bits."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value, rounder = (builder.bitcast(arg, _BITS) for arg in args)
        shift = ir.Constant(_BITS, [23] * WIDTH)
        return builder.bitcast(builder.add(value, builder.shl(rounder, shift)), _VECTOR)

    return lanes(lanes, lanes), generate


@intrinsic
def total(typing_context: Any, value: Any) -> Any:
    """The sum of the sixteen values, added pairwise."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = args[0]
        for half in (8, 4, 2, 1):
            order = [(i + half) % WIDTH for i in range(WIDTH)]
            rotation = builder.shuffle_vector(value, value, ir.Constant(_BITS, order))
            value = builder.fadd(value, rotation)
        return builder.extract_element(value, _WORD(0))

    return types.float32(lanes), generate


def _define(operation: Callable[..., Any], instruction: str) -> None:
    @intrinsic
    def compute(typing_context: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, instruction)(*args, flags=("contract", "nsz"))

        return lanes(lanes, lanes), generate

    @overload(operation, strict=False)
    def implement(a: Any, b: Any) -> Any:
        if a is lanes and b is lanes:
            return lambda a, b: compute(a, b)
        if a is lanes and isinstance(b, types.Float):
            return lambda a, b: compute(a, broadcast(b))
        if b is lanes and isinstance(a, types.Float):
            return lambda a, b: compute(broadcast(a), b)
        return None


_define(operator.add, "fadd")
_define(operator.sub, "fsub")
_define(operator.mul, "fmul")
_define(operator.truediv, "fdiv")
