"""Fast backends have the second derivatives of the reference, or say what has them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

import evenfall
from evenfall.errors import BackendError
from evenfall_kernels import causal_conv1d, egru_scan, event_matmul, selective_scan, ssd_scan


def leaf(*shape: int) -> Tensor:
    return torch.randn(shape).requires_grad_()


def scan() -> tuple[Callable[[], Tensor], list[Tensor]]:
    u, delta, z, B, C = leaf(2, 5, 7), leaf(2, 5, 7), leaf(2, 5, 7), leaf(2, 4, 7), leaf(2, 4, 7)
    A, state = (-torch.rand(5, 4)).requires_grad_(), leaf(2, 5, 4)

    def run() -> Tensor:
        y, last = selective_scan(u, delta, A, B, C, None, z, None, True, True, initial_state=state)
        return y.sin().sum() + last.cos().sum()

    return run, [u, delta, A, B, C, z, state]


def packed_scan() -> tuple[Callable[[], Tensor], list[Tensor]]:
    u, B = leaf(1, 5, 7), leaf(1, 4, 7)
    A, bounds = (-torch.rand(5, 4)).requires_grad_(), torch.tensor([0, 3, 7])
    run = lambda: selective_scan(u, u, A, B, B, delta_softplus=True, cu_seqlens=bounds)  # noqa: E731
    return lambda: run().sin().sum(), [u, A, B]


def convolution() -> tuple[Callable[[], Tensor], list[Tensor]]:
    x, weight, bias = leaf(2, 5, 7), leaf(5, 4), leaf(5)
    return lambda: causal_conv1d(x, weight, bias, activation="silu").sin().sum(), [x, weight, bias]


def dual() -> tuple[Callable[[], Tensor], list[Tensor]]:
    x, dt, B, C = leaf(1, 7, 2, 4), leaf(1, 7, 2), leaf(1, 7, 1, 4), leaf(1, 7, 1, 4)
    A = (-torch.rand(2)).requires_grad_()
    return lambda: ssd_scan(x, dt, A, B, C, dt_softplus=True).sin().sum(), [x, dt, A, B, C]


def events() -> tuple[Callable[[], Tensor], list[Tensor]]:
    x, weight = leaf(3, 5), leaf(5, 4)
    return lambda: event_matmul(x, weight).sin().sum(), [x, weight]


CASES = {
    "selective_scan": scan, "selective_scan, packed": packed_scan, "causal_conv1d": convolution,
    "ssd_scan": dual, "event_matmul": events,
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_they_are_those_of_the_reference(name: str) -> None:
    torch.manual_seed(0)
    run, leaves = CASES[name]()
    results = []
    for backend in (nullcontext(), evenfall.use_backend("reference")):
        with backend:
            first = torch.autograd.grad(run(), leaves, create_graph=True)
            penalty = sum((gradient.square().sum() for gradient in first), torch.zeros(()))
            results.append([*first, *torch.autograd.grad(penalty, leaves)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_egru_scan_says_what_has_them() -> None:
    torch.manual_seed(0)
    x, kernel, recurrent_kernel, bias = leaf(1, 4, 2), leaf(2, 9), leaf(3, 9), leaf(9)
    threshold = torch.full((3,), 0.1).requires_grad_()
    y = egru_scan(x, kernel, recurrent_kernel, bias, bias, threshold).y
    (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(BackendError, match=r"^egru_scan: .*use_backend\('reference'\)"):
        first.square().sum().backward()


@pytest.mark.parametrize("name", [name for name in CASES if name != "event_matmul"])
@pytest.mark.parametrize("block", ["no_grad", "autocast", "reference"])
def test_backward_in_another_block_gives_equal_gradients(name: str, block: str) -> None:
    """event_matmul's are products of PyTorch, which an autocast block rounds."""
    torch.manual_seed(0)
    run, leaves = CASES[name]()
    blocks = {
        "no_grad": torch.no_grad(), "autocast": torch.autocast("cpu", torch.bfloat16),
        "reference": evenfall.use_backend("reference"),
    }  # fmt: skip
    want = torch.autograd.grad(run(), leaves)
    loss = run()
    with blocks[block]:
        torch.testing.assert_close(torch.autograd.grad(loss, leaves), want)
