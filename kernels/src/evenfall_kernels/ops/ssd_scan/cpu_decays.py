"""The decays of a chunk of ssd_scan on the CPU, in Numba.

Arrays are rows of sixteen float32 (cpu/simd.py): a head has `blocks` rows of steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ...cpu.simd import WIDTH, broadcast, load, store, where_less
from ...cpu.simd_math import exp2

_LOG2_E = 1.4426950408889634
_ZERO, _HALF, _SMALLEST = np.float32(0), np.float32(0.5), np.float32(-96)

LATER: np.ndarray = np.triu(np.ones((WIDTH, WIDTH), np.float32))
"""Row s is 1 in the lanes of s and later steps."""

EARLIER: np.ndarray = np.ascontiguousarray(LATER.T)
"""Row t is 1 in the lanes of t and earlier steps."""


@njit(error_model="numpy", nogil=True)
def sum_decays(row: int, blocks: int, decay: Any, high: Any, low: Any) -> None:
    """The base-2 logarithm of the decay from the start to each step, in two float32."""
    total = 0.0
    for t in range(blocks * WIDTH):
        at, lane = row * blocks + t // WIDTH, t % WIDTH
        total += np.float64(decay[at, lane]) * _LOG2_E
        upper = np.float32(total)
        high[at, lane] = upper
        low[at, lane] = np.float32(total - np.float64(upper))


@njit(error_model="numpy", nogil=True)
def whole_decays(
    row: int, blocks: int, high: Any, low: Any, before: Any, after: Any, total: Any
) -> None:
    """The decays from the start to each step, and from each step to the end."""
    last = (row + 1) * blocks - 1
    end_high, end_low = broadcast(high[last, WIDTH - 1]), broadcast(low[last, WIDTH - 1])
    for at in range(row * blocks, last + 1):
        upper, lower = load(high, at), load(low, at)
        store(before, at, _power(upper, lower))
        store(after, at, _power(end_high - upper, end_low - lower))
    total[row] = before[last, WIDTH - 1]


@njit(error_model="numpy", nogil=True)
def _power(rough: Any, rest: Any) -> Any:
    """2^(rough + rest); 0 below 2^-96, since products of tiny numbers can be very slow."""
    exponent = rough + rest
    return where_less(exponent, broadcast(_SMALLEST), broadcast(_ZERO), exp2(exponent))


@njit(error_model="numpy", nogil=True)
def decays_from(step: int, block: int, first: int, high: Any, low: Any, later: Any) -> Any:
    """The decays from a step to the sixteen steps of a block; 0 to those before it.

    `first` is the head's first row in `high`.
    """
    at, lane = first + step // WIDTH, step % WIDTH
    rough = load(high, first + block) - high[at, lane]
    value = _power(rough, load(low, first + block) - low[at, lane])
    if block == step // WIDTH:
        value = where_less(broadcast(_HALF), load(later, lane), value, broadcast(_ZERO))
    return value


@njit(error_model="numpy", nogil=True)
def decays_to(step: int, block: int, first: int, high: Any, low: Any, earlier: Any) -> Any:
    """The decays from the sixteen steps of a block to a step; 0 from those after it."""
    at, lane = first + step // WIDTH, step % WIDTH
    rough = broadcast(high[at, lane]) - load(high, first + block)
    value = _power(rough, broadcast(low[at, lane]) - load(low, first + block))
    if block == step // WIDTH:
        value = where_less(broadcast(_HALF), load(earlier, lane), value, broadcast(_ZERO))
    return value
