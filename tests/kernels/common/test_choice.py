"""One backend per call: for forward and backward passes, in threads and in compiled graphs."""

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
from evenfall.owners import Owner
from evenfall_kernels import (
    causal_conv1d,
    compress_rows,
    egru_scan,
    event_matmul,
    selective_scan,
    selective_state_update,
    ssd_scan,
    ssd_state_update,
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


def _dual(x: Tensor) -> Tensor:
    B = torch.linspace(-2, 1, 80).view(1, 20, 1, 4)
    heads = x.transpose(1, 2)[..., None]
    y: Any = ssd_scan(heads, heads[..., 0].detach().abs(), -torch.ones(3), B, B.cos())
    return y


def _update_heads(x: Tensor) -> Tensor:
    ones = torch.ones(1, 1, 4)
    return ssd_state_update(
        torch.zeros(1, 3, 1, 4), x[..., :1], torch.ones(1, 3), -torch.ones(3), ones, ones
    )


CALLS: dict[str, tuple[str, Callable[[Tensor], Tensor], list[str], list[str]]] = {
    # operation, call, the backend's functions that run forward and backward with a gradient
    "causal_conv1d": ("causal_conv1d", _convolution, ["forward"], ["backward"]),
    "egru_scan": ("egru_scan", _egru, ["forward"], ["backward"]),
    "selective_scan": ("selective_scan", _scan, ["forward"], ["backward"]),
    "ssd_scan": ("ssd_scan", _dual, ["forward"], ["backward"]),
    "event_matmul": ("event_matmul", _events, ["forward"], []),
    "compressed rows": ("event_matmul", _compressed, ["forward_rows"], []),
    "ssd_state_update": ("ssd_state_update", _update_heads, [], []),  # plain PyTorch
    "selective_state_update": ("selective_state_update", _update, [], []),  # plain PyTorch
}
X = torch.linspace(-1, 1, 60).view(1, 3, 20)


class Case:
    """A call, and the functions it runs of "probe", a backend that calls "cpu"."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.operation, self.call, self.forward, self.backward = CALLS[name]
        self.log = log

    def pop_log(self) -> list[str]:
        names = self.log.copy()
        self.log.clear()
        return names


@pytest.fixture(params=list(CALLS))
def case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    log: list[str] = []
    case = Case(request.param, log)
    cpu = import_module(f"evenfall_kernels.ops.{case.operation}.cpu")

    def logger(name: str) -> Callable[..., Any]:
        def function(*arguments: Any) -> Any:
            log.append(name)
            return getattr(cpu, name)(*arguments)

        return function

    probe = ModuleType("probe_of_a_test")
    probe.__dict__.update({name: logger(name) for name in FUNCTIONS if hasattr(cpu, name)})
    if hasattr(cpu, "CHUNK"):
        probe.__dict__["CHUNK"] = cpu.CHUNK
    monkeypatch.setitem(sys.modules, probe.__name__, probe)
    registry.kernels.names()  # loads the plugins
    owner = Owner("probe")
    options = {"devices": ("cpu",), "dtypes": ("float32",), "priority": -1, "slow": False}
    registry.kernels.add(
        f"{case.operation}/probe", probe.__name__, owner,
        operation=case.operation, backend="probe", **options,
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
        assert case.pop_log() == case.forward
        with use_backend("cpu"):
            cpu_result = case.call(other)
    assert case.pop_log() == []
    run(y.sum().backward)
    assert case.pop_log() == case.backward
    with use_backend("probe", case.operation):
        run(cpu_result.sum().backward)
    assert case.pop_log() == []
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
        return case.pop_log()

    traced = torch.compile(lambda x: case.call(x), backend="aot_eager", fullgraph=True)
    with use_backend("probe", case.operation):
        traced(x)
    case.pop_log()
    backward = case.backward if grad else []
    assert run(traced) == forward + backward
    with use_backend("cpu", case.operation):
        assert run(traced) == forward + backward

    torch._dynamo.reset()
    cpu_graph = torch.compile(lambda x: case.call(x), backend="aot_eager", fullgraph=True)
    cpu_graph(x)
    with use_backend("probe", case.operation):
        y = cpu_graph(x)
        if grad:
            y.sum().backward()
        assert case.pop_log() == []


TRACERS: dict[str, Callable[[Any], Any]] = {
    "make_fx": lambda f: make_fx(f)(X),
    "jit": lambda f: torch.jit.trace(f, X, check_trace=False),
}


@pytest.mark.parametrize("tracer", list(TRACERS))
def test_a_traced_graph_keeps_its_backend(case: Case, tracer: str) -> None:
    unrolls = tracer == "jit" and case.operation == "egru_scan"  # the reference, see run.py
    want = [] if unrolls else case.forward or ["step"]
    with torch.no_grad(), use_backend("probe", case.operation):
        traced = TRACERS[tracer](case.call)
    case.pop_log()
    with torch.no_grad():
        traced(X)
        assert case.pop_log() == want
        with use_backend("cpu"):
            traced(X)
    assert case.pop_log() == want


@pytest.mark.parametrize("grad", [True, False])
def test_a_call_selects_once(case: Case, grad: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    selections: list[str] = []

    def select(operation: str, **options: Any) -> Any:
        selections.append(operation)
        return original(operation, **options)

    original = dispatch.select
    monkeypatch.setattr(dispatch, "select", select)
    with torch.set_grad_enabled(grad):
        for x in (X, X * (X > 0.9), X[:, :1] * (X[:, :1] < -0.9)):
            if x.shape == X.shape or case.operation in ("egru_scan", "event_matmul"):
                y = case.call(x.clone().requires_grad_(grad))
                plain = grad and case.operation in ("selective_state_update", "ssd_state_update")
                assert selections == ([] if plain else [case.operation])
                if grad:
                    y.sum().backward()
                    assert len(selections) <= 1
                selections.clear()


@pytest.mark.parametrize("name", ["egru_scan", "selective_scan", "ssd_scan"])
def test_backward_of_a_graph_traced_without_gradients(name: str) -> None:
    """Its forward pass saves nothing: backward would read out of bounds."""
    with torch.no_grad():
        traced = make_fx(CALLS[name][1])(X)
    x = X.clone().requires_grad_()
    y = traced(x)
    torch.testing.assert_close(y, CALLS[name][1](X))
    with pytest.raises(BackendError, match=f"^{name}: the graph was traced without gradients"):
        y.sum().backward()
