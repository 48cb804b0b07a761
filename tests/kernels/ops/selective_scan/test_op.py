"""selective_scan as a custom operator: opcheck, torch.compile and saved states."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from evenfall import use_backend
from evenfall_kernels import selective_scan
from evenfall_kernels.ops.selective_scan.op import selective_scan_op
from evenfall_kernels.ops.selective_scan.outputs import empty_outputs

from .cases import CASES


def _leaves(p: dict[str, Any]) -> list[torch.Tensor]:
    return [
        v.requires_grad_()
        for v in p.values()
        if isinstance(v, torch.Tensor) and v.is_floating_point()
    ]


@pytest.mark.parametrize("name", ["63", "groups", "dirac, step", "packed, step"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_opcheck(name: str, dtype: torch.dtype) -> None:
    p = CASES[name](dtype, "cpu")
    _leaves(p)
    groups = [t if t.dim() == 4 else t[:, None] for t in (p["B"], p["C"])]
    rule = p.get("discretization")
    arguments = (
        p["u"], p["delta"], p["A"], *groups, p["D"], p.get("z"), p["delta_bias"], p.get("step"),
        p.get("step_scale", torch.ones_like(p["D"])),
        torch.ones_like(p["A"]) if rule == "dirac" else None, p["initial_state"].float(),
        p.get("cu_seqlens"), True, "zoh" if rule == "zoh" else "delta", "cpu", True,
    )  # fmt: skip
    torch.library.opcheck(selective_scan_op, arguments)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("name", ["63", "async", "packed"])
def test_compiles_without_a_graph_break(backend: str, name: str) -> None:
    torch._dynamo.reset()
    p = CASES[name](torch.float32, "cpu")
    leaves = _leaves(p)
    compiled = torch.compile(
        lambda **k: selective_scan(**k, return_last_state=True), fullgraph=True, backend="aot_eager"
    )
    with use_backend(backend):
        got, want = compiled(**p), selective_scan(**p, return_last_state=True)
        torch.testing.assert_close(got, want)
        for one, other in zip(
            torch.autograd.grad(got[0].sum() + got[1].sum(), leaves, allow_unused=True),
            torch.autograd.grad(want[0].sum() + want[1].sum(), leaves, allow_unused=True),
            strict=True,
        ):
            assert (one is None) == (other is None) or not (one if other is None else other).any()
            if one is not None and other is not None:
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_compiles_in_float64() -> None:
    torch._dynamo.reset()
    p = CASES["packed, step"](torch.float64, "cpu")
    leaves = _leaves(p)
    compiled = torch.compile(selective_scan, fullgraph=True, backend="aot_eager")
    with use_backend("reference"):
        got, want = compiled(**p), selective_scan(**p)
        torch.testing.assert_close(got, want)
        grads = [torch.autograd.grad(y.square().sum(), leaves) for y in (got, want)]
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("ends", [[0, 10**8], [-5, 80], [0, 90, 10, 80]])
def test_compiled_code_checks_cu_seqlens(backend: str, ends: list[int]) -> None:
    """Tracing cannot read the values; with wrong ones the loops would write out of bounds."""
    torch._dynamo.reset()
    p = CASES["packed"](torch.float32, "cpu")
    del p["initial_state"], p["cu_seqlens"]
    compiled = torch.compile(selective_scan, fullgraph=True, backend="aot_eager")
    with use_backend(backend), pytest.raises(ValueError, match=r"^cu_seqlens must start at 0"):
        compiled(**p, cu_seqlens=torch.tensor(ends))


def test_backward_runs_where_forward_ran() -> None:
    """Backward outside the block: another backend would misread the saved states."""
    p = CASES["63"](torch.float32, "cpu")
    leaves = _leaves(p)
    with use_backend("cpu"):
        y = selective_scan(**p)
    with use_backend("reference"):
        want = torch.autograd.grad(selective_scan(**p).sum(), leaves)
        got = torch.autograd.grad(y.sum(), leaves)
    torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4)


def test_inference_saves_no_states() -> None:
    u, B, state = torch.zeros(1, 32, 640), torch.zeros(1, 1, 16, 640), torch.zeros(1, 32, 16)
    assert empty_outputs(u, B, state, save=False)[2].numel() == 0
    chunk_states = empty_outputs(u, B, state, save=True)[2]
    assert chunk_states.numel() < u.numel() * 16 / 25
