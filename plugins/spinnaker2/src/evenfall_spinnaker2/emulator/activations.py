"""exp, sigmoid and tanh in float32, the same bits as `firmware/c/activations.h`.

The operations and their order are those of the C file. Numba does not fuse a product and a sum, so
each operation rounds as on the Cortex-M4F. Errors against float64: at most 2 units in the last
place; NaN gives NaN.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_ROUNDER = np.float32(12582912.0)
_LOG2_E = np.float32(1.44269504)
_LN_2_HIGH = np.float32(0.693359375)
_LN_2_LOW = np.float32(-2.12194440e-4)
_LOWEST = np.float32(-80.0)
_Q4, _Q3 = np.float32(1.393373322e-3), np.float32(8.363235385e-3)
_Q2, _Q1, _Q0 = np.float32(4.166646417e-2), np.float32(1.666657664e-1), np.float32(5.000000014e-1)
_P5, _P4 = np.float32(2.29585649e-3), np.float32(-8.346996852e-3)
_P3, _P2 = np.float32(2.176996731e-2), np.float32(-5.3959407e-2)
_P1, _P0 = np.float32(1.333330429e-1), np.float32(-3.333333318e-1)
_ZERO, _ONE, _TWO, _LINEAR = np.float32(0), np.float32(1), np.float32(2), np.float32(0.625)
_SHIFTED_ZERO, _BIAS, _FRACTION = np.uint32(0x4B400000), np.uint32(127), np.uint32(23)


@njit(error_model="numpy", inline="always")
def exp_negative(x: np.float32) -> np.float32:
    """e^x for x <= 0; every x below -80 gives e^-80."""
    if x < _LOWEST:
        x = _LOWEST
    shifted = x * _LOG2_E + _ROUNDER
    n = shifted - _ROUNDER
    f = x - n * _LN_2_HIGH
    f = f - n * _LN_2_LOW
    q = f * _Q4 + _Q3
    q = q * f + _Q2
    q = q * f + _Q1
    q = q * f + _Q0
    series = q * f
    series = series * f + f
    series = series + _ONE
    raw = np.uint32(np.float32(shifted).view(np.uint32) - _SHIFTED_ZERO + _BIAS)
    power = np.uint32(raw << _FRACTION)
    return series * np.uint32(power).view(np.float32)


@njit(error_model="numpy", inline="always")
def sigmoid(x: np.float32) -> np.float32:
    """1 / (1 + e^-x)."""
    e = exp_negative(-abs(x))
    numerator = e if x < _ZERO else _ONE
    return numerator / (_ONE + e)


@njit(error_model="numpy", inline="always")
def tanh(x: np.float32) -> np.float32:
    """x + x^3 p(x^2) below 0.625, else (1 - e^-2x) / (1 + e^-2x)."""
    a = abs(x)
    if a < _LINEAR:
        z = x * x
        p = z * _P5 + _P4
        p = p * z + _P3
        p = p * z + _P2
        p = p * z + _P1
        p = p * z + _P0
        return (p * z) * x + x
    e = exp_negative(-_TWO * a)
    t = (_ONE - e) / (_ONE + e)
    return -t if x < _ZERO else t
