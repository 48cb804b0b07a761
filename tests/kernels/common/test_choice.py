"""One choice a call: forward, backward, threads and compiled graphs stay with the same backend."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from evenfall import registry, use_backend
from evenfall.errors import BackendError
from evenfall.registry import Owner
from evenfall_kernels import (
    causal_conv1d,
    compress_rows,
    egru_scan,
    event_matmul,
    selective_scan,
    selective_state_update,
)
from evenfall_kernels.common import dispatch

FUNCTIONS = ("forward", "forward_rows", "backward", "step")
WEIGHT = torch.linspace(-1, 1, 100).view(20, 5)
ROWS = compress_rows(WEIGHT)


def _convolution(x: Tensor) -> Tensor:
    return causal_conv1d(x, torch.linspace(-1, 1, 12).view(3, 4), activation="silu")


def _egru(x: Tensor) -> Tensor:
    kernel, recurrent = torch.linspace(-1, 1, 240).view(20, 12), torch.ones(4, 12)
    return egru_scan(x, kernel, recurrent, torch.ones(12), torch.ones(12), torch.ones(4) / 9).y


def _scan(x: Tensor) -> Tensor:
    B = torch.linspace(-2, 1, 80).view(1, 4, 20)
    return selective_scan(x, x.detach().abs(), -torch.ones(3, 4), B, B.cos())


def _events(x: Tensor) -> Tensor:
    return event_matmul(x, WEIGHT)


def _compressed(x: Tensor) -> Tensor:
    return event_matmul(x, ROWS)


def _update(x: Tensor) -> Tensor:
    ones = torch.ones(1, 4)
    return selective_state_update(
        torch.zeros(1, 3, 4), x[..., 0], torch.ones(1, 3), -ones.expand(3, 4), ones, ones
    )


CALLS: dict[str, tuple[str, Callable[[Tensor], Tensor], list[str], list[str]]] = {
    # operation, call, what of the backend runs forward and backward where there is a gradient
    "causal_conv1d": ("causal_conv1d", _convolution, ["forward"], ["backward"]),
    "egru_scan": ("egru_scan", _egru, ["forward"], ["backward"]),
    "selective_scan": ("selective_scan", _scan, ["forward"], ["backward"]),
    "event_matmul": ("event_matmul", _events, ["forward"], []),
    "compressed rows": ("event_matmul", _compressed, ["forward_rows"], []),
    "selective_state_update": ("selective_state_update", _update, [], []),  # plain PyTorch
}
X = torch.linspace(-1, 1, 60).view(1, 3, 20)


class Case:
    """A call, and what it runs of a backend "probe" that passes everything on to "cpu"."""

    def __init__(self, name: str, ran: list[str]) -> None:
        self.operation, self.call, self.forward, self.backward = CALLS[name]
        self.ran = ran

    def seen(self) -> list[str]:
        seen = self.ran.copy()
        self.ran.clear()
        return seen


@pytest.fixture(params=list(CALLS))
def case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    ran: list[str] = []
    case = Case(request.param, ran)
    cpu = import_module(f"evenfall_kernels.ops.{case.operation}.cpu")

    def passed_on(name: str) -> Callable[..., Any]:
        def function(*arguments: Any) -> Any:
            ran.append(name)
            return getattr(cpu, name)(*arguments)

        return function

    probe = ModuleType("probe_of_a_test")
    probe.__dict__.update({name: passed_on(name) for name in FUNCTIONS if hasattr(cpu, name)})
    if hasattr(cpu, "CHUNK"):
        probe.__dict__["CHUNK"] = cpu.CHUNK
    monkeypatch.setitem(sys.modules, probe.__name__, probe)
    registry.kernels.names()  # loads the plugins
    owner = Owner("probe")
    about = {"devices": ("cpu",), "dtypes": ("float32",), "priority": -1, "slow": False}
    registry.kernels.add(
        f"{case.operation}/probe", probe.__name__, owner,
        operation=case.operation, backend="probe", **about,
    )  # fmt: skip
    torch._dynamo.reset()
    yield case
    registry.kernels.remove_owner(owner)


def _in_a_thread(function: Callable[[], Any]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


@pytest.mark.parametrize("run", [lambda f: f(), _in_a_thread], ids=["same thread", "another"])
def test_backward_runs_where_forward_ran(case: Case, run: Callable[..., Any]) -> None:
    x, other = (X.clone().requires_grad_() for _ in range(2))
    with use_backend("probe", case.operation):
        y = case.call(x)
        assert case.seen() == case.forward
        with use_backend("cpu"):
            elsewhere = case.call(other)
    assert case.seen() == []
    run(y.sum().backward)
    assert case.seen() == case.backward
    with use_backend("probe", case.operation):
        run(elsewhere.sum().backward)
    assert case.seen() == []
    torch.testing.assert_close(x.grad, other.grad, rtol=0, atol=0)


@pytest.mark.parametrize("grad", [True, False])
def test_a_compiled_graph_keeps_its_backend(case: Case, grad: bool) -> None:
    x = X.clone().requires_grad_(grad)
    forward = case.forward if grad else case.forward or ["step"]

    def run(compiled: Callable[[Tensor], Tensor]) -> list[str]:
        y = compiled(x)
        if grad:
            y.sum().backward()
        torch.testing.assert_close(y, case.call(x))
        return case.seen()

    traced = torch.compile(lambda x: case.call(x), backend="aot_eager", fullgraph=True)
    with use_backend("probe", case.operation):
        traced(x)
    case.seen()
    backward = case.backward if grad else []
    assert run(traced) == forward + backward
    with use_backend("cpu", case.operation):
        assert run(traced) == forward + backward

    torch._dynamo.reset()
    untouched = torch.compile(lambda x: case.call(x), backend="aot_eager", fullgraph=True)
    untouched(x)
    with use_backend("probe", case.operation):
        y = untouched(x)
        if grad:
            y.sum().backward()
        assert case.seen() == []


RECORDERS: dict[str, Callable[[Any], Any]] = {
    "make_fx": lambda f: make_fx(f)(X),
    "jit": lambda f: torch.jit.trace(f, X, check_trace=False),
}


@pytest.mark.parametrize("recorder", list(RECORDERS))
def test_a_recorded_graph_keeps_its_backend(case: Case, recorder: str) -> None:
    unrolled = recorder == "jit" and case.operation == "egru_scan"  # its reference, see run.py
    want = [] if unrolled else case.forward or ["step"]
    with torch.no_grad(), use_backend("probe", case.operation):
        traced = RECORDERS[recorder](case.call)
    case.seen()
    with torch.no_grad():
        traced(X)
        assert case.seen() == want
        with use_backend("cpu"):
            traced(X)
    assert case.seen() == want


@pytest.mark.parametrize("grad", [True, False])
def test_a_call_asks_once(case: Case, grad: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def select(operation: str, **about: Any) -> Any:
        asked.append(operation)
        return chosen(operation, **about)

    chosen = dispatch.select
    monkeypatch.setattr(dispatch, "select", select)
    with torch.set_grad_enabled(grad):
        for x in (X, X * (X > 0.9), X[:, :1] * (X[:, :1] < -0.9)):
            if x.shape == X.shape or case.operation in ("egru_scan", "event_matmul"):
                y = case.call(x.clone().requires_grad_(grad))
                plain = grad and case.operation == "selective_state_update"
                assert asked == ([] if plain else [case.operation])
                if grad:
                    y.sum().backward()
                    assert len(asked) <= 1
                asked.clear()


@pytest.mark.parametrize("name", ["egru_scan", "selective_scan"])
def test_a_graph_recorded_without_gradients_refuses_them(name: str) -> None:
    """Its forward pass saves nothing: backward would read outside of its arrays."""
    with torch.no_grad():
        traced = make_fx(CALLS[name][1])(X)
    x = X.clone().requires_grad_()
    y = traced(x)
    torch.testing.assert_close(y, CALLS[name][1](X))
    with pytest.raises(BackendError, match=f"^{name}: the graph was recorded without gradients"):
        y.sum().backward()
