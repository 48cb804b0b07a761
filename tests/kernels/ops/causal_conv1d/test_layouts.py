"""causal_conv1d of channels-last tensors: no layout is copied into the other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from evenfall_kernels import causal_conv1d
from evenfall_kernels.ops.causal_conv1d.op import causal_conv1d_op

ENDS = torch.tensor([0, 1, 65, 65, 131, 200])


def channels_last(tensor: Tensor) -> Tensor:
    """The same values in channels-last memory."""
    return tensor.transpose(1, 2).contiguous().transpose(1, 2)


def half_of_wider(tensor: Tensor) -> Tensor:
    """The same values as part of a wider row, as torch.chunk returns them."""
    return torch.cat([channels_last(tensor), channels_last(tensor)], 1)[:, : tensor.shape[1]]


def make_inputs(dtype: torch.dtype, width: int, packed: bool) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(width)
    sequences = 5 if packed else 2
    shapes = {
        "x": (1 if packed else 2, 37, 200), "weight": (37, width), "bias": (37,),
        "initial_state": (sequences, 37, width - 1),
    }  # fmt: skip
    return {name: torch.randn(s, generator=generator).to(dtype) for name, s in shapes.items()}


def results(inputs: dict[str, Any], ends: Tensor | None) -> tuple[Tensor, ...]:
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in inputs.items()}
    out, final = causal_conv1d(
        **leaves, activation="silu", return_final_state=True, cu_seqlens=ends
    )
    weights = torch.linspace(-1, 1, out.numel()).view(out.shape).to(out.dtype)
    loss = (out * weights).sum() + final.square().sum()
    return out, final, *torch.autograd.grad(loss, list(leaves.values()))


@pytest.mark.parametrize("layout", [channels_last, half_of_wider])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("width", [1, 4, 70])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equals_the_other_layout(dtype: torch.dtype, width: int, packed: bool, layout: Any) -> None:
    inputs, ends = make_inputs(dtype, width, packed), ENDS if packed else None
    got = results({**inputs, "x": layout(inputs["x"])}, ends)
    want = results(inputs, ends)
    assert got[0].stride() == torch.empty_like(layout(inputs["x"])).stride()
    for one, other in zip(got, want, strict=True):
        tolerance = 2e-2 if dtype == torch.bfloat16 else 1e-5
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("width", [1, 4, 70])
def test_a_wide_filter_equals_the_reference(width: int) -> None:
    inputs = make_inputs(torch.float32, width, True)
    got = results(inputs, ENDS)
    want = results({name: tensor.double() for name, tensor in inputs.items()}, ENDS)
    for one, reference in zip(got, want, strict=True):
        torch.testing.assert_close(one.double(), reference, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layout", [channels_last, half_of_wider])
def test_opcheck(layout: Any) -> None:
    inputs = make_inputs(torch.float32, 4, False)
    x = layout(inputs["x"]).detach().requires_grad_()
    others = [inputs[name].requires_grad_() for name in ("weight", "bias", "initial_state")]
    torch.library.opcheck(causal_conv1d_op, (x, *others, None, True, "cpu"))
