"""What selective_scan.py times: the scan, its rivals, and the limit of this machine.

Rivals take the arguments of selective_scan, so that all of them do the same work: softplus, skip
and gate included.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from numba import njit
from torch import Tensor
from transformers.models.mamba.modeling_mamba import mamba_selective_scan

from evenfall_kernels import selective_scan
from evenfall_kernels.cpu.simd import WIDTH, load, store
from evenfall_kernels.cpu.simd_math import exp2
from evenfall_kernels.cpu.threads import run_split

Size = tuple[int, int, int, int]  # batch, channels, length, states
OURS, TORCH, PSCAN = "evenfall", "transformers", "mamba.py"


def inputs(size: Size) -> dict[str, Tensor]:
    """A Mamba layer's: A = -1 to -N, delta from 0.001 to 0.1 after softplus."""
    batch, channels, length, states = size
    torch.manual_seed(0)
    made = {
        "u": torch.randn(batch, channels, length), "delta": torch.randn(batch, channels, length),
        "A": -torch.arange(1.0, states + 1).repeat(channels, 1),
        "B": torch.randn(batch, states, length), "C": torch.randn(batch, states, length),
        "D": torch.ones(channels), "z": torch.randn(batch, channels, length),
        "delta_bias": torch.full((channels,), -4.0),
    }  # fmt: skip
    return {name: tensor.requires_grad_() for name, tensor in made.items()}


def scans() -> dict[str, Callable[..., Any]]:
    """By name; mamba.py's where the package mambapy is installed."""
    found = {OURS: selective_scan, TORCH: mamba_selective_scan}
    try:
        from mambapy.pscan import pscan
    except ImportError:
        return found

    def parallel(
        u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor,
        delta_bias: Tensor, delta_softplus: bool,
    ) -> Tensor:  # fmt: skip
        delta = delta + delta_bias[:, None]
        size = (F.softplus(delta) if delta_softplus else delta).transpose(1, 2)[..., None]
        x = u.transpose(1, 2)
        states = pscan(torch.exp(size * A), size * B.transpose(1, 2)[:, :, None] * x[..., None])
        y = (states @ C.transpose(1, 2)[..., None]).squeeze(-1) + D * x
        return y.transpose(1, 2) * F.silu(z)

    return found | {PSCAN: parallel}


def both_ways(scan: Callable[..., Any], p: dict[str, Tensor]) -> Callable[[], None]:
    """Forward and the gradients of every input."""

    def run() -> None:
        y = scan(*p.values(), delta_softplus=True)
        torch.autograd.grad(y.sum(), list(p.values()))

    return run


def recorded(scan: Callable[..., Any], p: dict[str, Tensor]) -> Callable[[], None]:
    """Forward as for training: what a backward pass needs is kept to its end."""
    return lambda: scan(*p.values(), delta_softplus=True)


def one_way(scan: Callable[..., Any], p: dict[str, Tensor]) -> Callable[[], None]:
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


def bare_loop(size: Size) -> Callable[[], None]:
    """An exponential and three multiply-adds for each of (B, D, L, N), from the nearest cache."""
    batch, channels, length, states = size
    blocks = batch * -(-channels // WIDTH)

    def fill(first: int, stop: int) -> None:
        rows = torch.zeros(states + 2, WIDTH).numpy()
        _bare(rows, (stop - first) * length, states)

    return lambda: run_split(fill, blocks, 10 * batch * channels * length * states)
