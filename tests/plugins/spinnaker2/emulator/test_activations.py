"""exp, sigmoid and tanh: close to float64, and the same bits in Numba and in C."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pytest
from numba import njit

from evenfall_spinnaker2.emulator import activations

EDGES = np.array(
    [0, 0x80000000, 0x7F800000, 0xFF800000, 0x7FC00000, 1, 0x80000001, 0x3F200000, 0x3F1FFFFF],
    np.uint32,
)

sigmoid, tanh = activations.sigmoid, activations.tanh


@njit(error_model="numpy")
def both(x, s, t):
    for i in range(len(x)):
        s[i] = sigmoid(x[i])
        t[i] = tanh(x[i])


def inputs() -> np.ndarray:
    """Random bits, random numbers and edges."""
    random = np.random.default_rng(0)
    bits = random.integers(0, 1 << 32, 60_000, dtype=np.uint64).astype(np.uint32)
    near = random.normal(0, 4, 60_000).astype(np.float32).view(np.uint32)
    return np.concatenate([bits, near, EDGES]).view(np.float32)


def by_numba(x: np.ndarray) -> np.ndarray:
    s, t = np.empty_like(x), np.empty_like(x)
    both(x, s, t)
    return np.stack([s, t])


def assert_same_bits(got: np.ndarray, wanted: np.ndarray) -> None:
    """NaN equals NaN, whatever its bits."""
    is_nan = np.isnan(got) & np.isnan(wanted)
    assert ((got.view(np.uint32) == wanted.view(np.uint32)) | is_nan).all()


def test_errors_are_below_three_units_in_the_last_place() -> None:
    x = np.linspace(-30, 30, 200_001).astype(np.float32)
    wide = x.astype(np.float64)
    wanted = np.stack([1 / (1 + np.exp(-wide)), np.tanh(wide)])
    error = np.abs(by_numba(x) - wanted) / np.spacing(np.abs(wanted).astype(np.float32))
    assert error.max() < 3


def test_limits_and_nan() -> None:
    x = np.array([-np.inf, -200, 0, 200, np.inf, np.nan], np.float32)
    s, t = by_numba(x)
    assert s[:5].tolist() == pytest.approx([0, 0, 0.5, 1, 1], abs=1e-34)
    assert t[:5].tolist() == [-1, -1, 0, 1, 1]
    assert np.isnan([s[5], t[5]]).all()


def test_the_c_file_has_the_same_bits_on_the_host(tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    source = tmp_path / "host.c"
    source.write_text(
        '#include "activations.h"\n'
        "void run(const float *x, float *s, float *t, long n) {\n"
        "  for (long i = 0; i < n; i++) { s[i] = sigmoid(x[i]); t[i] = tanh_single(x[i]); }\n}\n"
    )
    library = tmp_path / "host.so"
    with as_file(files("evenfall_spinnaker2.firmware") / "c") as folder:
        flags = ["-O2", "-ffp-contract=off", "-shared", "-fPIC", f"-I{folder}"]
        subprocess.run(["gcc", *flags, str(source), "-o", str(library)], check=True)
    x = inputs()
    out = np.empty((2, len(x)), np.float32)
    run = ctypes.CDLL(str(library)).run
    run(*(ctypes.c_void_p(array.ctypes.data) for array in (x, out[0], out[1])),
        ctypes.c_long(len(x)))  # fmt: skip
    assert_same_bits(out, by_numba(x))
