"""Run in its own process with TRITON_INTERPRET=1: scans by Triton's interpreter and the quick one.

Prints the two as JSON, for each axis and direction.
"""

from __future__ import annotations

import json
import os
import sys

os.environ["TRITON_INTERPRET"] = "1"

import torch
import triton
import triton.language as tl
from triton.runtime import interpreter

from evenfall.testing.interpreter import quicken_interpreter


@triton.jit
def compose(a_1, b_1, a_2, b_2):
    return a_1 * a_2, b_1 * a_2 + b_2


@triton.jit
def kernel(a, b, out, axis: tl.constexpr, reverse: tl.constexpr):
    cell = tl.arange(0, 4)[:, None] * 8 + tl.arange(0, 8)[None, :]
    scanned = tl.associative_scan((tl.load(a + cell), tl.load(b + cell)), axis, compose, reverse)
    tl.store(out + cell, scanned[0])
    tl.store(out + 32 + cell, scanned[1])


def scans() -> list[list[float]]:
    generator = torch.Generator().manual_seed(0)
    # Small integers, so that every order of the products and sums is exact.
    a, b = torch.randint(-2, 3, (2, 4, 8), generator=generator).float()
    results = []
    for axis in (0, 1):
        for reverse in (False, True):
            out = torch.zeros(64)
            kernel[(1,)](a, b, out, axis, reverse)
            results.append(out.tolist())
    return results


if __name__ == "__main__":
    own = scans()
    quicken_interpreter()
    assert interpreter.ScanOps.generic_scan.__module__ == quicken_interpreter.__module__
    json.dump([own, scans()], sys.stdout)
