"""A float32 exp for Numba loops that LLVM vectorises.

exp is 2^n times a polynomial (degree 6 Taylor series in the reduced argument, relative error below
3e-7). NaN gives NaN. A loop must use few arrays, so that the compiled code can check that they do
not overlap: LLVM leaves a loop over a dozen arrays scalar.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import int32, njit, types
from numba.extending import intrinsic

# without reassoc, which would remove the rounding by a large constant
FAST = {"contract", "nsz", "arcp"}
_LOG2_E = np.float32(1.4426950408889634)
_LN_2 = np.float32(0.6931471805599453)
_ROUNDER = np.float32(12582912.0)  # 1.5 * 2^23
_C2, _C3, _C4 = np.float32(1 / 2), np.float32(1 / 6), np.float32(1 / 24)
_C5, _C6 = np.float32(1 / 120), np.float32(1 / 720)
_ONE = np.float32(1)
_LOW, _HIGH = np.float32(-88.1), np.float32(89.0)  # 2^n is 0 at _LOW and infinite at _HIGH


@intrinsic
def bits_to_float(typing_context: Any, bits: Any) -> Any:
    """The float32 with these 32 bits."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), generate


@njit(fastmath=FAST, error_model="numpy", inline="always")
def exp(x: np.float32) -> np.float32:
    """e^x in float32, 0 below -87.7 and infinite above 88.4."""
    x = _LOW if x < _LOW else x
    x = _HIGH if x > _HIGH else x
    scaled = x * _LOG2_E
    whole = (scaled + _ROUNDER) - _ROUNDER
    f = (scaled - whole) * _LN_2
    series = _ONE + f * (_ONE + f * (_C2 + f * (_C3 + f * (_C4 + f * (_C5 + f * _C6)))))
    bits = (int32(whole) + int32(127)) << int32(23)
    return series * bits_to_float(int32(bits))
