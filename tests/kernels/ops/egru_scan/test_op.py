"""egru_scan as a custom operator: opcheck and torch.compile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from evenfall_kernels import egru_scan
from evenfall_kernels.ops.egru_scan.op import egru_scan_op

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
