"""Elementary functions of Lanes: exp2, softplus, sigmoid, the ZOH factor.

Relative errors are below 2e-7 for results of at least 2^-125. exp2(0) is exactly 1, so a step of 0
leaves the state unchanged. The polynomials are minimax fits on the reduced argument. With AVX-512
an exponential takes nine instructions instead of twelve, and no division is needed, which takes as
long as sixteen of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from .avx512 import HAS_AVX512, fraction, reciprocal_estimate, scaled
from .simd import add_to_exponent, broadcast, where_less

_ROUNDER = np.float32(12582912.0)  # 1.5 * 2^23: adding it rounds to an integer
_LOW, _HIGH = np.float32(-127.0), np.float32(128.0)  # 2^x is 0 at _LOW and infinite at _HIGH
_LOG2_E = np.float32(1.4426950408889634)
_ZERO, _HALF, _ONE, _TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
_E1, _E2, _E3 = np.float32(0.69314698), np.float32(0.24022242), np.float32(0.055507337)
_E4, _E5 = np.float32(0.0096715126), np.float32(0.0013264727)
_L0, _L1, _L2 = np.float32(2.0), np.float32(0.66666315), np.float32(0.40024910)
_L3, _L4 = np.float32(0.27960603), np.float32(0.28178334)
_SMALL = np.float32(0.35)
_P3, _P4, _P5 = np.float32(1 / 6), np.float32(1 / 24), np.float32(1 / 120)
_P6 = np.float32(1 / 720)
_Q1, _Q2, _Q3 = np.float32(1 / 3), np.float32(1 / 8), np.float32(1 / 30)
_Q4, _Q5 = np.float32(1 / 144), np.float32(1 / 840)


_BIG = np.float32(8e37)  # the inverse of a larger number is tiny, and 0 here


@njit(error_model="numpy", nogil=True)
def _series(f: Any) -> Any:
    """2^f for f from -1/2 to 1/2."""
    return _ONE + f * (_E1 + f * (_E2 + f * (_E3 + f * (_E4 + f * _E5))))


@njit(error_model="numpy", nogil=True)
def exp2_by_bits(x: Any) -> Any:
    """2^x on any processor; 0 for x <= -127."""
    low, high = broadcast(_LOW), broadcast(_HIGH)
    x = where_less(x, low, low, x)
    x = where_less(high, x, high, x)
    rounder = x + _ROUNDER
    return add_to_exponent(_series(x - (rounder - _ROUNDER)), rounder)


@njit(error_model="numpy", nogil=True)
def exp2_by_scaling(x: Any) -> Any:
    """2^x with AVX-512; 0 for x < -126.5."""
    f = fraction(x)
    return scaled(_series(f), x - f)


@njit(error_model="numpy", nogil=True)
def _inverse_by_estimate(x: Any) -> Any:
    """1 / x with AVX-512 for x >= 1, by a step of Newton's method."""
    r = reciprocal_estimate(x)
    r = r + r * (_ONE - x * r)
    return where_less(broadcast(_BIG), x, broadcast(_ZERO), r)


@njit(error_model="numpy", nogil=True)
def _inverse_by_division(x: Any) -> Any:
    return _ONE / x


exp2 = exp2_by_scaling if HAS_AVX512 else exp2_by_bits
"""2^x; 0 for x <= -127 and infinite for x >= 128."""

_inverse = _inverse_by_estimate if HAS_AVX512 else _inverse_by_division


@njit(error_model="numpy", nogil=True)
def sigmoid(x: Any) -> Any:
    """1 / (1 + e^-x)."""
    return _inverse(_ONE + exp2(x * -_LOG2_E))


@njit(error_model="numpy", nogil=True)
def softplus(x: Any) -> Any:
    """log(1 + e^x) = max(x, 0) + 2 atanh(e / (2 + e)) with e = e^-|x|."""
    zero = broadcast(_ZERO)
    e = exp2(where_less(zero, x, zero - x, x) * _LOG2_E)
    s = e * _inverse(_TWO + e)
    square = s * s
    series = _L0 + square * (_L1 + square * (_L2 + square * (_L3 + square * _L4)))
    return where_less(x, zero, zero, x) + s * series


@njit(error_model="numpy", nogil=True)
def zoh_factor(t: Any, rate: Any, power: Any) -> Any:
    """(e^(t rate) - 1) / rate, given power = e^(t rate); t where t rate is 0."""
    x = t * rate
    near = t * (_ONE + x * (_HALF + x * (_P3 + x * (_P4 + x * (_P5 + x * _P6)))))
    small = where_less(x * x, broadcast(_SMALL * _SMALL), broadcast(_ONE), broadcast(_ZERO))
    safe = where_less(broadcast(_HALF), small, broadcast(_ONE), rate)
    return where_less(broadcast(_HALF), small, near, (power - _ONE) / safe)


@njit(error_model="numpy", nogil=True)
def zoh_rate_derivative(t: Any, rate: Any, power: Any, factor: Any) -> Any:
    """The derivative of the ZOH factor with respect to the rate: (t power - factor) / rate."""
    x = t * rate
    near = t * t * (_HALF + x * (_Q1 + x * (_Q2 + x * (_Q3 + x * (_Q4 + x * _Q5)))))
    small = where_less(x * x, broadcast(_SMALL * _SMALL), broadcast(_ONE), broadcast(_ZERO))
    safe = where_less(broadcast(_HALF), small, broadcast(_ONE), rate)
    return where_less(broadcast(_HALF), small, near, (t * power - factor) / safe)
