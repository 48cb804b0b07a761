"""Convert stored weights to float32 inside a Numba loop, in a form that LLVM vectorises.

NumPy has no bfloat16 and Numba has no float16, so a kernel sees their bits as integers:

    float32   as itself
    bfloat16  as uint16, the upper half of a float32
    float16   as int16, rescaled by 2**112 to move the exponent's bias from 15 to 127
    int8      as itself
"""

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


def _from_bfloat16(builder: ir.IRBuilder, bits: ir.Value) -> ir.Value:
    word = builder.shl(builder.zext(bits, _WORD), _WORD(16))
    return builder.bitcast(word, _FLOAT)


def _from_float16(builder: ir.IRBuilder, bits: ir.Value) -> ir.Value:
    word = builder.zext(bits, _WORD)
    magnitude = builder.shl(builder.and_(word, _WORD(0x7FFF)), _WORD(13))
    scaled = builder.fmul(builder.bitcast(magnitude, _FLOAT), _FLOAT(2.0**112))
    # An exponent of all ones means infinity or NaN. Scaling would change it, so it is set again.
    special = builder.or_(magnitude, _WORD(0x7F800000))
    is_special = builder.icmp_unsigned(">=", magnitude, _WORD(0x0F800000))
    value = builder.select(is_special, special, builder.bitcast(scaled, _WORD))
    sign = builder.shl(builder.and_(word, _WORD(0x8000)), _WORD(16))
    return builder.bitcast(builder.or_(value, sign), _FLOAT)


def _from_int8(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    return builder.sitofp(value, _FLOAT)


_CONVERSIONS = {
    numba.types.float32: lambda builder, value: value,
    numba.types.uint16: _from_bfloat16,
    numba.types.int16: _from_float16,
    numba.types.int8: _from_int8,
}


@intrinsic
def widen(typing_context: Any, stored: numba.types.Type) -> Any:
    """The value of `stored` (float32, uint16, int16 or int8, see above) as float32."""
    convert = _CONVERSIONS.get(stored)
    if convert is None:
        return None

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        return convert(builder, arguments[0])

    return numba.types.float32(stored), generate
