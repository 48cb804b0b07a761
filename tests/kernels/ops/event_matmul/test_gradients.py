"""Gradients of event_matmul: exact, dense in the events, none for constant weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from evenfall import use_backend
from evenfall_kernels import compress_rows, event_matmul, quantize_rows


def make_events(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    fired = torch.rand(shape, generator=generator) < 0.3
    return torch.randn(shape, generator=generator) * fired


@pytest.fixture(params=["cpu", "reference"])
def backend(request: pytest.FixtureRequest) -> Any:
    with use_backend(request.param, "event_matmul"):
        yield request.param


def gradients(out: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    upstream = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).reshape(out.shape)
    return torch.autograd.grad(out, inputs, upstream)


def float64_gradients(events: Tensor, weight: Tensor, scale: Tensor, bias: Tensor) -> Any:
    wide = [tensor.detach().double().requires_grad_() for tensor in (events, weight, scale, bias)]
    out = (wide[0] * wide[2]) @ wide[1] + wide[3]
    return gradients(out, *wide)


@pytest.mark.parametrize(("n_units", "n_out"), [(1, 1), (63, 100), (100, 2047), (2047, 3)])
@pytest.mark.parametrize("lead", [(), (1,), (3, 2), (17,), (0,)])
def test_every_gradient(backend: str, n_units: int, n_out: int, lead: tuple[int, ...]) -> None:
    events = make_events(*lead, n_units).requires_grad_()
    weight = torch.randn(n_units, n_out, requires_grad=True)
    scale = torch.rand(n_units, requires_grad=True)
    bias = torch.randn(n_out, requires_grad=True)
    inputs = events, weight, scale, bias
    got = gradients(event_matmul(events, weight, scale=scale, bias=bias), *inputs)
    for actual, want in zip(got, float64_gradients(*inputs), strict=True):
        torch.testing.assert_close(actual.double(), want, rtol=1e-5, atol=2e-4)


def test_a_silent_unit_has_the_derivative_of_its_row(backend: str) -> None:
    events = torch.zeros(1, 5, requires_grad=True)
    weight = torch.randn(5, 3)
    event_matmul(events, weight).sum().backward()
    torch.testing.assert_close(events.grad, weight.sum(1)[None])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_gradients_keep_their_dtype(backend: str, dtype: torch.dtype) -> None:
    events = make_events(3, 63).to(dtype).requires_grad_()
    weight = torch.randn(63, 65).to(dtype).requires_grad_()
    got = gradients(event_matmul(events, weight), events, weight)
    wide = [tensor.detach().double().requires_grad_() for tensor in (events, weight)]
    upstream = torch.linspace(-1, 2, 3 * 65, dtype=dtype).reshape(3, 65).double()
    want = torch.autograd.grad(wide[0] @ wide[1], wide, upstream)
    for actual, exact in zip(got, want, strict=True):
        assert actual.dtype == dtype
        torch.testing.assert_close(actual.double(), exact, rtol=1e-2, atol=1e-1)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16, torch.int8])
def test_compressed_weights_pass_gradients_to_events(
    backend: str, dtype: torch.dtype | None
) -> None:
    rows = compress_rows(make_events(63, 100), dtype=dtype)
    events = make_events(3, 63).requires_grad_()
    (got,) = gradients(event_matmul(events, rows), events)
    upstream = torch.linspace(-1, 2, 300).reshape(3, 100)
    torch.testing.assert_close(got, upstream @ rows.dense().float().t(), rtol=1e-5, atol=1e-4)


def test_int8_weights_pass_gradients_to_events(backend: str) -> None:
    weight, scale = quantize_rows(torch.randn(63, 100))
    events = make_events(3, 63).requires_grad_()
    (got,) = gradients(event_matmul(events, weight, scale=scale), events)
    upstream = torch.linspace(-1, 2, 300).reshape(3, 100)
    want = upstream @ (weight * scale[:, None]).t()
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("scaled", [False, True])
def test_gradcheck(scaled: bool) -> None:
    events = make_events(3, 5).double().requires_grad_()
    weight = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    scale = torch.rand(5, dtype=torch.float64, requires_grad=True) if scaled else None
    with use_backend("reference", "event_matmul"):
        assert torch.autograd.gradcheck(
            lambda *inputs: event_matmul(inputs[0], inputs[1], scale=scale), (events, weight)
        )
        assert torch.autograd.gradgradcheck(
            lambda *inputs: event_matmul(inputs[0], inputs[1], scale=scale), (events, weight)
        )


def test_only_the_bias_is_trained() -> None:
    bias = torch.zeros(65, requires_grad=True)
    event_matmul(make_events(3, 63), torch.randn(63, 65), bias=bias).sum().backward()
    assert torch.equal(bias.grad, torch.full((65,), 3.0))


def test_no_grad_builds_no_graph(backend: str) -> None:
    weight = torch.randn(63, 65, requires_grad=True)
    with torch.no_grad():
        assert not event_matmul(make_events(3, 63), weight).requires_grad
