"""What ssd_scan.py times: the scan, transformers' own in plain PyTorch, and the products alone.

transformers' function gets what its Mamba-2 layer passes to it, so both do the same work: softplus,
bias and skip included.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers.models.mamba2.modeling_mamba2 import mamba2_chunk_scan

from evenfall_kernels import ssd_scan
from evenfall_kernels.ops.ssd_scan.cpu import CHUNK

Size = tuple[int, int, int, int, int]  # batch, length, heads, channels of a head, states
OURS, TORCH, PRODUCTS = "evenfall", "transformers", "matrix products alone"
HOST_CHUNK = 256
"""The chunk of a Mamba2Config that names none."""


def inputs(size: Size) -> dict[str, Tensor]:
    """A Mamba-2 layer's: A = -1 to -H, dt from 0.001 to 0.1 after softplus, one group."""
    batch, length, heads, channels, states = size
    torch.manual_seed(0)
    made = {
        "x": torch.randn(batch, length, heads, channels),
        "dt": torch.randn(batch, length, heads),
        "A": -torch.arange(1.0, heads + 1),
        "B": torch.randn(batch, length, 1, states),
        "C": torch.randn(batch, length, 1, states),
        "D": torch.ones(heads),
        "dt_bias": torch.full((heads,), -4.0),
    }
    return {name: tensor.requires_grad_() for name, tensor in made.items()}


def _of_transformers(chunk: int) -> Callable[..., Any]:
    def scan(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, **rest: Any) -> Any:
        return mamba2_chunk_scan(x, dt, A, B, C, chunk, **rest)

    return scan


def scans() -> dict[str, Callable[..., Any]]:
    """By name; transformers' with its usual chunk, and with ours, which needs less memory."""
    return {
        OURS: ssd_scan,
        TORCH: _of_transformers(HOST_CHUNK),
        f"{TORCH}, chunks of {CHUNK}": _of_transformers(CHUNK),
    }


def both_ways(scan: Callable[..., Any], p: dict[str, Tensor]) -> Callable[[], None]:
    """Forward and the gradients of every input."""

    def run() -> None:
        y = scan(**p, dt_softplus=True)
        torch.autograd.grad(y.sum(), list(p.values()))

    return run


def one_way(scan: Callable[..., Any], p: dict[str, Tensor]) -> Callable[[], None]:
    def run() -> None:
        with torch.no_grad():
            scan(**p, dt_softplus=True)

    return run


def recorded(scan: Callable[..., Any], p: dict[str, Tensor]) -> Callable[[], None]:
    """Forward as for training: what a backward pass needs is kept to its end."""
    return lambda: scan(**p, dt_softplus=True)


PASSES = {"forward": one_way, "forward, recorded": recorded, "forward + backward": both_ways}


def products(size: Size, backward: bool) -> Callable[[], None]:
    """The matrix products of ssd_scan in chunks of 64 steps, on tensors that stay in the cache.

    Forward four a chunk: C B^T, its decayed form times x, C times the state, and what the chunk
    adds to the state. Backward these gradients: two of each product, and C B^T and C times the
    state once more, which are not kept.
    """
    batch, length, heads, channels, states = size
    wide = heads * channels
    C, B = torch.randn(2, batch, CHUNK, states)
    x, grad, by_head = torch.randn(3, batch * heads, CHUNK, channels)
    scaled, by_group = torch.randn(2, batch, CHUNK, wide)
    state, d_state = torch.randn(2, batch, states, wide)
    square = torch.randn(batch, CHUNK, CHUNK)
    matrix = torch.randn(batch * heads, CHUNK, CHUNK)
    of_states = torch.empty(batch, CHUNK, states)

    def transposed(tensor: Tensor) -> Tensor:
        return tensor.transpose(1, 2)

    forward_pairs = [
        (C, transposed(B), square), (matrix, x, by_head), (C, state, by_group),
        (transposed(B), scaled, state),
    ]  # fmt: skip
    backward_pairs = [
        (C, state, by_group), (B, transposed(C), square), (x, transposed(grad), matrix),
        (B, d_state, by_group), (scaled, transposed(d_state), of_states),
        (by_group, transposed(state), of_states), (transposed(C), scaled, d_state),
        (matrix, grad, by_head), (square, C, of_states), (transposed(square), B, of_states),
    ]  # fmt: skip

    def run() -> None:
        for pairs in (forward_pairs, backward_pairs) if backward else (forward_pairs,):
            for _ in range(-(-length // CHUNK)):
                for left, right, out in pairs:
                    torch.bmm(left, right, out=out)

    return run
