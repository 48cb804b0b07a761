"""selective_scan on the CPU against transformers' torch path and against this machine's limit.

    python tests/benchmarks/bench_selective_scan.py [--quick] [--torch-backward] [--no-save]

The limit is a bare vector loop of one exponential and three multiply-adds for every element of
(B, D, L, N), without any other memory than the first-level cache, in the same run. The torch path's
backward pass is quadratic in L and takes minutes at L = 2048: without --torch-backward its time is
taken at L = 256 and the row says so.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numba import njit
from record import save, table
from timing import medians
from transformers.models.mamba.modeling_mamba import mamba_selective_scan

from eventide_kernels import selective_scan
from eventide_kernels.lanes import WIDTH, load, store
from eventide_kernels.selective_scan.lane_math import exp2
from eventide_kernels.threads import run_split

MAIN = (1, 1536, 2048, 16)
TABLE = [
    *((1, 1536, length, 16) for length in (128, 512, 8192, 65536)),
    *((1, 1536, 2048, states) for states in (4, 8, 32, 64, 128)),
    *((batch, 1536, 2048, 16) for batch in (4, 16)),
]
QUICK = (1, 64, 128, 16)


def inputs(batch: int, channels: int, length: int, states: int) -> dict[str, Any]:
    """A Mamba layer's: A = -1 to -N, delta from 0.001 to 0.1 after softplus."""
    torch.manual_seed(0)
    made = {
        "u": torch.randn(batch, channels, length), "delta": torch.randn(batch, channels, length),
        "A": -torch.arange(1.0, states + 1).repeat(channels, 1),
        "B": torch.randn(batch, states, length), "C": torch.randn(batch, states, length),
        "D": torch.ones(channels), "z": torch.randn(batch, channels, length),
        "delta_bias": torch.full((channels,), -4.0),
    }  # fmt: skip
    return {name: tensor.requires_grad_() for name, tensor in made.items()}


def both_ways(scan: Callable[..., Any], p: dict[str, Any]) -> Callable[[], None]:
    def run() -> None:
        y = scan(*p.values(), delta_softplus=True)
        torch.autograd.grad(y.sum(), list(p.values()))

    return run


def one_way(scan: Callable[..., Any], p: dict[str, Any]) -> Callable[[], None]:
    def run() -> None:
        with torch.no_grad():
            scan(*p.values(), delta_softplus=True)

    return run


@njit(nogil=True, error_model="numpy")
def _bare(rows: Any, steps: int, states: int) -> None:
    for _ in range(steps):
        x, y = load(rows, states), load(rows, states + 1)
        for n in range(states):
            h = exp2(x * load(rows, n)) * load(rows, n) + x * y
            store(rows, n, h)
            y = y + h * x
        store(rows, states + 1, y)


def bare_loop(batch: int, channels: int, length: int, states: int) -> Callable[[], None]:
    blocks = batch * -(-channels // WIDTH)

    def fill(first: int, stop: int) -> None:
        rows = torch.zeros(states + 2, WIDTH).numpy()
        _bare(rows, (stop - first) * length, states)

    return lambda: run_split(fill, blocks, 10 * batch * channels * length * states)


def measure(size: tuple[int, int, int, int], rounds: int) -> dict[str, Any]:
    """Forward, forward + backward, and the bare loop."""
    p = inputs(*size)
    functions = {
        "forward": one_way(selective_scan, p),
        "both": both_ways(selective_scan, p),
        "bare": bare_loop(*size),
    }
    seconds = medians(functions, rounds)
    elements = float(np.prod(size))
    return {
        **dict(zip(("batch", "channels", "length", "states"), size, strict=True)),
        "forward_ms": seconds["forward"] * 1e3,
        "forward+backward_ms": seconds["both"] * 1e3,
        "bare_loop_ms": seconds["bare"] * 1e3,
        "forward/bare": seconds["forward"] / seconds["bare"],
        "1e9_exponentials_a_second": elements / seconds["forward"] / 1e9,
    }


def against_torch(size: tuple[int, int, int, int], backward: bool, rounds: int) -> list[dict]:
    """Forward at the full size; forward + backward there or at a shorter length."""
    batch, channels, length, states = size
    short = size if backward else (batch, channels, min(length, 256), states)
    rows = []
    for what, at, wrap, count in (
        ("forward", size, one_way, rounds),
        ("forward + backward", short, both_ways, 1),
    ):
        p = inputs(*at)
        theirs = medians({"torch": wrap(mamba_selective_scan, p)}, count)["torch"]
        ours = medians({"ours": wrap(selective_scan, p)}, rounds)["ours"]
        rows.append(
            {
                "what": what, "length": at[2], "torch_ms": theirs * 1e3, "eventide_ms": ours * 1e3,
                "times_faster": theirs / ours,
            }
        )  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one tiny size; saves nothing")
    parser.add_argument("--torch-backward", action="store_true", help="torch's, at full length")
    parser.add_argument("--no-save", action="store_true", help="do not write docs/benchmarks")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    sizes = [QUICK] if arguments.quick else [MAIN, *TABLE]
    rows = [measure(size, 3 if np.prod(size) > 2e8 else 9) for size in sizes]
    table("selective_scan, fp32, 2 threads, medians", rows)
    versus = against_torch(sizes[0], arguments.torch_backward, 1 if arguments.quick else 3)
    table("against transformers' torch path", versus)
    if not (arguments.no_save or arguments.quick):
        save(
            "selective_scan", [*rows, *versus], "python tests/benchmarks/bench_selective_scan.py",
            "fp32, softplus, gate and skip included. bare loop: one exponential and three "
            "multiply-adds an element, from the first-level cache. Rows with `what` compare with "
            "mamba_selective_scan of transformers at the length given.",
        )  # fmt: skip


if __name__ == "__main__":
    main()
