"""bfloat16 in memory against PyTorch: all values when reading, the critical ones when writing."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit

from evenfall_kernels.cpu.simd_memory import load_at, load_one, store_at, store_one

HALVES = torch.arange(1 << 16, dtype=torch.int32).to(torch.uint16)


@njit
def copy_by_lanes(source: Any, target: Any) -> None:
    for i in range(0, source.shape[0], 16):
        store_at(target, i, load_at(source, i))


@njit
def copy_one_by_one(source: Any, target: Any) -> None:
    for i in range(source.shape[0]):
        store_one(target, i, load_one(source, i))


def to_bfloat16(values: np.ndarray, copy: Any) -> torch.Tensor:
    halves = np.zeros(len(values), np.uint16)
    copy(values, halves)
    return torch.from_numpy(halves).view(torch.bfloat16)


def test_reads_every_bfloat16() -> None:
    want = HALVES.view(torch.bfloat16).float()
    for copy in (copy_by_lanes, copy_one_by_one):
        got = np.zeros(1 << 16, np.float32)
        copy(HALVES.numpy(), got)
        torch.testing.assert_close(torch.from_numpy(got), want, rtol=0, atol=0, equal_nan=True)


def test_rounds_to_the_nearest_even() -> None:
    exact = HALVES.view(torch.bfloat16).float().view(torch.int32)
    below, half, above = (exact + offset for offset in (0x7FFF, 0x8000, 0x8001))
    bits = torch.cat([exact, below, half, above])
    values = bits.view(torch.float32)
    for copy in (copy_by_lanes, copy_one_by_one):
        got = to_bfloat16(values.numpy(), copy)
        torch.testing.assert_close(got, values.bfloat16(), rtol=0, atol=0, equal_nan=True)


def test_no_nan_becomes_infinity() -> None:
    nan = torch.tensor([0x7F800001, 0x7FFFFFFF, 0x7FC00000] * 16, dtype=torch.int32)
    for copy in (copy_by_lanes, copy_one_by_one):
        assert to_bfloat16(nan.view(torch.float32).numpy(), copy).isnan().all()
