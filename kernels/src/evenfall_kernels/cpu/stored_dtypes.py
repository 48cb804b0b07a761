"""Convert stored weights to float32 inside a Numba loop, in a form that LLVM vectorises.

NumPy has no bfloat16 and Numba has no float16, so a kernel sees their bits as integers:

    float32   as itself
    bfloat16  as uint16, the upper half of a float32
    float16   as int16, rescaled by 2**112 to move the exponent's bias from 15 to 127
    int8      as itself
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from llvmlite import ir
from numba.extending import intrinsic

_BITS = {torch.bfloat16: torch.uint16, torch.float16: torch.int16}
_FLOAT, _WORD = ir.FloatType(), ir.IntType(32)


def as_stored(tensor: torch.Tensor) -> np.ndarray:
    """A CPU tensor as a contiguous NumPy array; its bits as integers if NumPy lacks the dtype."""
    if tensor.requires_grad:
        tensor = tensor.detach()
    tensor = tensor.contiguous()
    bits = _BITS.get(tensor.dtype)
    return (tensor if bits is None else tensor.view(bits)).numpy()


def _words(kind: Any) -> Any:
    """The 32-bit integers of an LLVM type: one, or a vector of them."""
    return ir.VectorType(_WORD, kind.count) if isinstance(kind, ir.VectorType) else _WORD


def _floats(kind: Any) -> Any:
    return ir.VectorType(_FLOAT, kind.count) if isinstance(kind, ir.VectorType) else _FLOAT


def constant(kind: Any, number: float) -> Any:
    """An LLVM constant; in every place if `kind` is a vector."""
    is_vector = isinstance(kind, ir.VectorType)
    return ir.Constant(kind, [number] * kind.count if is_vector else number)


def _from_bfloat16(builder: ir.IRBuilder, bits: ir.Value) -> ir.Value:
    words = _words(bits.type)
    shifted = builder.shl(builder.zext(bits, words), constant(words, 16))
    return builder.bitcast(shifted, _floats(bits.type))


def _from_float16(builder: ir.IRBuilder, bits: ir.Value) -> ir.Value:
    words, floats = _words(bits.type), _floats(bits.type)
    word = builder.zext(bits, words)
    magnitude = builder.and_(word, constant(words, 0x7FFF))
    magnitude = builder.shl(magnitude, constant(words, 13))
    scaled = builder.fmul(builder.bitcast(magnitude, floats), constant(floats, 2.0**112))
    # An exponent of all ones means infinity or NaN. Scaling would change it, so it is set again.
    special = builder.or_(magnitude, constant(words, 0x7F800000))
    is_special = builder.icmp_unsigned(">=", magnitude, constant(words, 0x0F800000))
    value = builder.select(is_special, special, builder.bitcast(scaled, words))
    sign = builder.and_(word, constant(words, 0x8000))
    sign = builder.shl(sign, constant(words, 16))
    return builder.bitcast(builder.or_(value, sign), floats)


def _from_int8(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    return builder.sitofp(value, _floats(value.type))


_CONVERSIONS: dict[Any, Callable[[ir.IRBuilder, ir.Value], ir.Value]] = {
    numba.types.float32: lambda builder, value: value,
    numba.types.uint16: _from_bfloat16,
    numba.types.int16: _from_float16,
    numba.types.int8: _from_int8,
}


def conversion(stored: Any) -> Callable[[ir.IRBuilder, ir.Value], ir.Value] | None:
    """How LLVM converts a value, or a vector of values, of this Numba type to float32."""
    return _CONVERSIONS.get(stored)


@intrinsic
def widen(typing_context: Any, stored: numba.types.Type) -> Any:
    """The value of `stored` (float32, uint16, int16 or int8, see above) as float32."""
    convert = conversion(stored)
    if convert is None:
        return None

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        return convert(builder, arguments[0])

    return numba.types.float32(stored), generate
