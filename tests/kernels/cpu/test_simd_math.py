"""Functions of Lanes against float64, on this processor and as on any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit

from evenfall_kernels.cpu import simd_math
from evenfall_kernels.cpu.avx512 import HAS_AVX512
from evenfall_kernels.cpu.simd import load, store

needs_avx512 = pytest.mark.skipif(not HAS_AVX512, reason="Numba compiles without AVX-512")
POWERS = [
    pytest.param(simd_math.exp2_by_bits, id="bits"),
    pytest.param(simd_math.exp2_by_scaling, id="scaling", marks=needs_avx512),
]


def values_of(function: Callable[[Any], Any], x: np.ndarray) -> np.ndarray:
    """The function of every element of x (rows, 16)."""

    @njit(error_model="numpy")
    def run(x: Any, out: Any) -> None:
        for row in range(x.shape[0]):
            store(out, row, function(load(x, row)))

    out = np.empty_like(x)
    run(x, out)
    return out


def span(low: float, high: float) -> np.ndarray:
    x: np.ndarray = np.linspace(low, high, 1 << 16).astype(np.float32).reshape(-1, 16)
    return x


def relative_error(function: Callable[[Any], Any], x: np.ndarray, right: np.ndarray) -> float:
    return float(np.abs(values_of(function, x) / right - 1).max())


@pytest.mark.parametrize("exp2", POWERS)
def test_powers_of_two(exp2: Callable[[Any], Any]) -> None:
    x = span(-125, 127.9)
    assert relative_error(exp2, x, np.exp2(x.astype(np.float64))) < 2e-7
    infinite, nothing = np.float32(np.inf), np.float32(0)
    special = np.array(
        [0, -0.0, 1, 128, 300, 3e38, infinite, -infinite, -127, -150, -300, -3e38, 127, -10, 5, 0.5]
    )
    right = [1, 1, 2, *[infinite] * 4, *[nothing] * 5, 2.0**127, 2.0**-10, 32]
    found = values_of(exp2, special.astype(np.float32).reshape(1, 16))[0]
    np.testing.assert_array_equal(found[:15], np.float32(right))
    assert np.isnan(values_of(exp2, np.full((1, 16), np.nan, np.float32))).all()


@needs_avx512
def test_the_inverse_by_estimate() -> None:
    x = np.exp2(span(0, 125).astype(np.float64)).astype(np.float32)
    assert relative_error(simd_math._inverse_by_estimate, x, 1 / x.astype(np.float64)) < 2e-7
    special = np.array([np.inf, np.nan, 3e38, 1] * 4, np.float32).reshape(1, 16)
    found = values_of(simd_math._inverse_by_estimate, special)[0, :4]
    np.testing.assert_array_equal(found, np.float32([0, np.nan, 0, 1]))


def test_sigmoid_and_softplus() -> None:
    x = span(-60, 60)
    wide = x.astype(np.float64)
    assert relative_error(simd_math.sigmoid, x, 1 / (1 + np.exp(-wide))) < 4e-6  # as x * log2(e)
    assert relative_error(simd_math.softplus, x, np.logaddexp(0, wide)) < 4e-6
    near = span(-1, 1)
    assert (
        relative_error(simd_math.sigmoid, near, 1 / (1 + np.exp(-near.astype(np.float64)))) < 3e-7
    )
