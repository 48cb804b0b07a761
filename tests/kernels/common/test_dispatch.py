"""torch.func raises an error, tracers see one operator: no derivative is lost silently."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from evenfall import use_backend
from evenfall.errors import BackendError
from evenfall_kernels import causal_conv1d, event_matmul, selective_scan, selective_state_update
from evenfall_kernels.common import dispatch


def _scan(x: Tensor) -> Any:
    B = torch.linspace(-2, 1, 80).view(1, 4, 20).to(x.device)
    C, delta = B.cos(), torch.linspace(0.1, 1, 60).view(1, 3, 20).to(x.device)
    return selective_scan(x, delta, -torch.ones(3, 4, device=x.device), B, C)


def _convolution(x: Tensor) -> Any:
    return causal_conv1d(x, torch.ones(3, 4, device=x.device), activation="silu")


def _update(x: Tensor) -> Any:
    ones = torch.ones(1, 4, device=x.device)
    state, dt = torch.zeros(1, 3, 4, device=x.device), torch.ones(1, 3, device=x.device)
    return selective_state_update(state, x[..., 0], dt, -ones.expand(3, 4), ones, ones)


def _events(x: Tensor) -> Any:
    return event_matmul(x[0], torch.linspace(-1, 1, 100).view(20, 5).to(x.device))


OPERATIONS: dict[str, Callable[[Tensor], Any]] = {
    "selective_scan": _scan, "causal_conv1d": _convolution, "selective_state_update": _update,
    "event_matmul": _events,
}  # fmt: skip
X = torch.linspace(-1, 1, 60).view(1, 3, 20)


def _forward_mode(function: Any, x: Tensor) -> Any:
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(function(forward_ad.make_dual(x, torch.ones_like(x)))).tangent


TRANSFORMS: dict[str, Callable[[Any, Tensor], Any]] = {
    "forward mode": _forward_mode,
    "jvp": lambda f, x: torch.func.jvp(f, (x,), (torch.ones_like(x),))[1],
    "vmap": lambda f, x: torch.func.vmap(f)(x.expand(2, *x.shape))[0],
}


@pytest.fixture(params=list(OPERATIONS))
def operation(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("transform", list(TRANSFORMS))
def test_only_the_reference_supports_transforms(operation: str, transform: str) -> None:
    function, apply = OPERATIONS[operation], TRANSFORMS[transform]
    with (
        use_backend("cpu"),
        pytest.raises(BackendError, match=f"{operation}: backend 'cpu' does not support"),
    ):
        apply(function, X)
    if operation == "selective_state_update" and transform == "vmap":
        return  # vmap cannot write batched values into an unbatched state
    with use_backend("reference"):
        got = apply(function, X)
        want = function(X) if transform == "vmap" else None
    if want is None:
        step = 1e-2
        with use_backend("reference"):
            want = (function(X + step) - function(X - step)) / (2 * step)
    torch.testing.assert_close(got, want, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("name", ["selective_scan", "causal_conv1d", "event_matmul"])
def test_torch_func_grad_raises_an_error(name: str) -> None:
    with pytest.raises(BackendError, match=r"does not support torch\.func or forward-mode AD"):
        torch.func.grad(lambda x: OPERATIONS[name](x).sum())(X)


def test_a_tracer_sees_one_operator(operation: str) -> None:
    graph = make_fx(OPERATIONS[operation])(X).graph
    targets = [node.target for node in graph.nodes if node.op == "call_function"]
    assert getattr(torch.ops.evenfall, operation).default in targets


def test_a_traced_call_recomputes(operation: str) -> None:
    traced = torch.jit.trace(OPERATIONS[operation], X, check_trace=False)
    torch.testing.assert_close(traced(2 * X), OPERATIONS[operation](2 * X))


def test_meta_and_fake_tensors(operation: str) -> None:
    want = OPERATIONS[operation](X).shape
    assert OPERATIONS[operation](X.to("meta")).shape == want
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert OPERATIONS[operation](mode.from_tensor(X)).shape == want


def test_a_lazily_negated_tensor(operation: str) -> None:
    lazy = torch.complex(X, X).conj().imag
    assert lazy.is_neg()
    torch.testing.assert_close(OPERATIONS[operation](lazy), OPERATIONS[operation](-X))


def test_the_name_of_a_backend_is_marked_as_torch_compiler_marks_constants() -> None:
    marked = torch.compiler.assume_constant_result(lambda: None)
    assert vars(dispatch._constant_name) == vars(marked)
