"""causal_conv1d as a PyTorch operator: opcheck and torch.compile."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from evenfall_kernels import causal_conv1d
from evenfall_kernels.ops.causal_conv1d.op import causal_conv1d_op

X, WEIGHT, BIAS = torch.randn(2, 5, 9), torch.randn(5, 4), torch.randn(5)
STATE, ENDS = torch.randn(2, 5, 3), torch.tensor([0, 4, 9])


@pytest.mark.parametrize(
    "arguments",
    [
        (X, WEIGHT, BIAS, STATE, None, True),
        (X, WEIGHT, None, None, None, False),
        (X[:1], WEIGHT, BIAS, STATE, ENDS, True),
        (X.bfloat16(), WEIGHT, None, STATE, None, True),
    ],
)
@pytest.mark.parametrize("grad", [False, True])
def test_opcheck(arguments: tuple[Any, ...], grad: bool) -> None:
    def leaf(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            return value
        return value.clone().requires_grad_(grad)

    torch.library.opcheck(causal_conv1d_op, (*map(leaf, arguments), "cpu"))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_compiles_without_a_graph_break(packed: bool, dtype: torch.dtype) -> None:
    def call(x: Any, weight: Any, state: Any, ends: Any) -> Any:
        return causal_conv1d(
            x, weight, initial_state=state, return_final_state=True, activation="silu",
            cu_seqlens=ends,
        )  # fmt: skip

    compiled = torch.compile(call, backend="aot_eager", fullgraph=True)
    x = (X[:1] if packed else X).to(dtype, copy=True).requires_grad_()
    weight = WEIGHT.to(dtype, copy=True).requires_grad_()
    arguments = x, weight, STATE, ENDS if packed else None
    got, want = compiled(*arguments), call(*arguments)
    torch.testing.assert_close(got, want)
    grads = [torch.autograd.grad(out.sum() + s.sum(), (x, weight)) for out, s in (got, want)]
    torch.testing.assert_close(*grads)


def test_compiled_code_checks_cu_seqlens() -> None:
    compiled = torch.compile(causal_conv1d, backend="aot_eager", fullgraph=True)
    with pytest.raises(ValueError, match=r"^cu_seqlens must start at 0"):
        compiled(X[:1], WEIGHT, cu_seqlens=torch.tensor([0, 10**8]))


def test_shapes_on_the_meta_device() -> None:
    out, state = causal_conv1d(X.to("meta"), WEIGHT.to("meta"), return_final_state=True)
    assert (out.shape, state.shape, out.device.type) == (X.shape, (2, 5, 3), "meta")
