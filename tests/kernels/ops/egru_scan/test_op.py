"""egru_scan as a custom operator: opcheck and torch.compile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from evenfall.backends import use_backend
from evenfall_kernels import egru_scan
from evenfall_kernels.ops.egru_scan.op import egru_scan_op
from evenfall_kernels.ops.egru_scan.op_in_order import egru_scan_in_order_op

Make = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("mask", [True, False])
def test_opcheck(make_inputs: Make, mask: bool) -> None:
    p = make_inputs(torch.float32, batch=3, time=4)
    gates = (p["x"].transpose(0, 1).reshape(12, -1) @ p["kernel"]).detach().requires_grad_()
    keep = torch.rand(12, 17) > 0.5 if mask else None
    arguments = (
        gates, p["recurrent_kernel"], p["recurrent_bias"], p["threshold"], *p["initial_state"],
        keep, 1.0, [3, 3, 3, 3], 3.6, 3.6, True, False, "cpu",
    )  # fmt: skip
    torch.library.opcheck(egru_scan_op, arguments)


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("cu_seqlens", [None, [0, 2, 2, 12]])
def test_opcheck_in_order(make_inputs: Make, cu_seqlens: list[int] | None, mask: bool) -> None:
    p = make_inputs(torch.float32, batch=3, time=4)
    gates = (p["x"].reshape(12, -1) @ p["kernel"]).detach().requires_grad_()
    keep = torch.rand(12, 17) > 0.5 if mask else None
    bounds = None if cu_seqlens is None else torch.tensor(cu_seqlens)
    arguments = (
        gates, bounds, p["recurrent_kernel"], p["recurrent_bias"], p["threshold"],
        *p["initial_state"], keep, 1.0, 3.6, 3.6, True, False, "cpu",
    )  # fmt: skip
    torch.library.opcheck(egru_scan_in_order_op, arguments)


def outputs(**inputs: Any) -> tuple[torch.Tensor, ...]:
    out = egru_scan(**inputs, return_events=True, return_cells=True, dampening=3.0, support=3.0)
    return out.y, *out.state, out.events, out.cells


def assert_same(compiled: Any, p: dict[str, Any]) -> None:
    """Check all outputs and all gradients."""
    leaves = [t for t in (*p.values(), *p["initial_state"]) if isinstance(t, torch.Tensor)]
    leaves = [t for t in leaves if t.requires_grad]
    got, want = compiled(**p), outputs(**p)
    torch.testing.assert_close(got, want)
    gradients = [torch.autograd.grad(sum(t.cos().sum() for t in o), leaves) for o in (got, want)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(
    "packs",
    [
        [None, None, None, None],
        [[0, 3, 3, 8, 12], [0, 12, 12, 12, 12], [0, 4, 10, 12], [0, 5, 5, 6, 9, 12]],
    ],
    ids=["padded", "packed"],
)
def test_compiles_into_one_graph_for_any_sequences(make_inputs: Make, packs: list[Any]) -> None:
    """At most three graphs: for the first sizes, and for any."""
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(outputs, fullgraph=True, backend=counter)
    for index, bounds in enumerate(packs):
        if bounds is None:
            p = make_inputs(torch.float32, batch=3, time=4 + index)
        else:
            p = make_inputs(torch.float32, batch=1, time=12, sequences=len(bounds) - 1)
            p["cu_seqlens"] = torch.tensor(bounds)
        assert_same(compiled, p)
    assert counter.frame_count <= 3


def test_a_compiled_graph_checks_the_bounds(make_inputs: Make) -> None:
    p = make_inputs(torch.float32, batch=1, time=12, sequences=3)
    compiled = torch.compile(outputs, fullgraph=True, backend="aot_eager")
    with pytest.raises(ValueError, match=r"end at 12 \(rows of x\), got \[0, 3, 8, 11\]"):
        compiled(**p, cu_seqlens=torch.tensor([0, 3, 8, 11]))


def test_the_reference_compiles_into_one_graph(make_inputs: Make) -> None:
    compiled = torch.compile(outputs, fullgraph=True, backend="aot_eager")
    with use_backend("reference"):
        assert_same(compiled, make_inputs(torch.float64, time=2))


def test_compiles_without_a_graph_break(make_inputs: Make) -> None:
    p = make_inputs(torch.float32)
    compiled = torch.compile(lambda **k: egru_scan(**k).y, fullgraph=True, backend="aot_eager")
    leaves = [t for t in p.values() if isinstance(t, torch.Tensor)]
    got, want = compiled(**p), egru_scan(**p).y
    torch.testing.assert_close(got, want)
    for a, b in zip(
        torch.autograd.grad(got.sum(), leaves), torch.autograd.grad(want.sum(), leaves), strict=True
    ):
        torch.testing.assert_close(a, b)
