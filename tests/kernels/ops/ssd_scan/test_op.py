"""ssd_scan as a custom operator: opcheck, torch.compile and saved states."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from evenfall import use_backend
from evenfall_kernels import ssd_scan
from evenfall_kernels.ops.ssd_scan.op import ssd_scan_op

from .cases import CASES


def _leaves(p: dict[str, Any]) -> list[torch.Tensor]:
    return [
        v.requires_grad_()
        for v in p.values()
        if isinstance(v, torch.Tensor) and v.is_floating_point()
    ]


@pytest.mark.parametrize("name", ["63", "packed, groups"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_opcheck(name: str, dtype: torch.dtype) -> None:
    p = CASES[name](dtype, "cpu")
    D = p["D"][:, None].expand(p["x"].shape[2:])
    tensors = (p["x"], p["dt"].float().abs(), -p["dt"].float().abs(), p["B"], p["C"], D,
               p.get("z"), p["initial_state"].float())  # fmt: skip
    leaves = [None if t is None else t.detach().requires_grad_() for t in tensors]
    torch.library.opcheck(ssd_scan_op, (*leaves, p.get("cu_seqlens"), "cpu", True))


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("name", ["63", "packed, groups"])
def test_compiles_without_a_graph_break(backend: str, name: str) -> None:
    torch._dynamo.reset()
    p = CASES[name](torch.float32, "cpu")
    leaves = _leaves(p)
    compiled = torch.compile(
        lambda **k: ssd_scan(**k, return_last_state=True), fullgraph=True, backend="aot_eager"
    )
    with use_backend(backend):
        got, want = compiled(**p), ssd_scan(**p, return_last_state=True)
        torch.testing.assert_close(got, want)
        grads = [torch.autograd.grad(y.sum() + h.sum(), leaves) for y, h in (got, want)]
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ends", [[0, 10**8], [-5, 170], [0, 190, 10, 170]])
def test_compiled_code_checks_cu_seqlens(ends: list[int]) -> None:
    """Tracing cannot read the values; with wrong ones the loops would write out of bounds."""
    torch._dynamo.reset()
    p = CASES["packed"](torch.float32, "cpu")
    del p["initial_state"], p["cu_seqlens"]
    compiled = torch.compile(ssd_scan, fullgraph=True, backend="aot_eager")
    with pytest.raises(ValueError, match=r"^cu_seqlens must start at 0"):
        compiled(**p, cu_seqlens=torch.tensor(ends))


def test_backward_runs_where_forward_ran() -> None:
    """Backward outside the block: another backend would misread the saved states."""
    grads = []
    for backend in ("cpu", "reference"):
        p = CASES["63"](torch.float32, "cpu")
        leaves = _leaves(p)
        with use_backend(backend):
            y = ssd_scan(**p)
        grads.append(torch.autograd.grad(y.sum(), leaves))
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
