"""float32 loops over one row of egru_scan that LLVM vectorises.

Each loop uses few arrays, see cpu/scalar_math.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float32, njit

from ...cpu.scalar_math import FAST, exp

_ONE, _TWO, _ZERO = np.float32(1), np.float32(2), np.float32(0)


@njit(fastmath=FAST, error_model="numpy", nogil=True)
def sigmoid_sum(out: Any, a: Any, b: Any, bias: Any) -> None:
    """out = sigmoid(a + b + bias)."""
    for i in range(out.shape[0]):
        out[i] = _ONE / (_ONE + exp(-(a[i] + b[i] + bias[i])))


@njit(fastmath=FAST, error_model="numpy", nogil=True)
def add(out: Any, a: Any, b: Any) -> None:
    """out = a + b."""
    for i in range(out.shape[0]):
        out[i] = a[i] + b[i]


@njit(fastmath=FAST, error_model="numpy", nogil=True)
def tanh_gated(out: Any, a: Any, r: Any, q: Any) -> None:
    """out = tanh(a + r q)."""
    for i in range(out.shape[0]):
        out[i] = _ONE - _TWO / (_ONE + exp(float32(2.0) * (a[i] + r[i] * q[i])))


@njit(fastmath=FAST, error_model="numpy", nogil=True)
def blend(out: Any, z: Any, h: Any, g: Any) -> None:
    """out = z h + (1 - z) g."""
    for i in range(out.shape[0]):
        out[i] = z[i] * h[i] + (_ONE - z[i]) * g[i]


@njit(fastmath=FAST, error_model="numpy", nogil=True)
def fire(y: Any, h: Any, c: Any, threshold: Any) -> None:
    """y = c where c > threshold, else 0; h = c - o threshold. A NaN cell counts as an event."""
    for i in range(y.shape[0]):
        silent = c[i] <= threshold[i]
        y[i] = _ZERO if silent else c[i]
        h[i] = c[i] if silent else c[i] - threshold[i]
