"""selective_scan of tensors whose channels lie side by side, as linear layers leave them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from evenfall_kernels import selective_scan

ENDS = torch.tensor([0, 1, 33, 33, 70])
SIGNALS = ("u", "delta", "z")


def turned(tensor: Tensor) -> Tensor:
    return tensor.transpose(1, 2).contiguous().transpose(1, 2)


def problem(dtype: torch.dtype, channels: int, packed: bool, gated: bool) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(channels)
    batch = 1 if packed else 2
    shapes = {
        "u": (batch, channels, 70), "delta": (batch, channels, 70), "z": (batch, channels, 70),
        "B": (batch, 3, 70), "C": (batch, 3, 70), "D": (channels,), "delta_bias": (channels,),
    }  # fmt: skip
    made = {name: torch.randn(s, generator=generator).to(dtype) for name, s in shapes.items()}
    made["A"] = -torch.rand(channels, 3, generator=generator) - 0.1
    if not gated:
        del made["z"]
    return made


def results(inputs: dict[str, Any], ends: Tensor | None) -> tuple[Tensor, ...]:
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in inputs.items()}
    y, last = selective_scan(**leaves, delta_softplus=True, return_last_state=True, cu_seqlens=ends)
    weights = torch.linspace(-1, 1, y.numel()).view(y.shape).to(y.dtype)
    loss = (y * weights).sum() + last.square().sum()
    return y, last, *torch.autograd.grad(loss, list(leaves.values()))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("channels", [7, 48])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equals_the_other_layout(
    dtype: torch.dtype, channels: int, gated: bool, packed: bool
) -> None:
    inputs, ends = problem(dtype, channels, packed, gated), ENDS if packed else None
    laid = {name: turned(t) if name in SIGNALS else t for name, t in inputs.items()}
    got, want = results(laid, ends), results(inputs, ends)
    assert got[0].stride() == laid["u"].stride()
    for mine, other in zip(got, want, strict=True):
        tolerance = 2e-2 if dtype == torch.bfloat16 else 1e-5
        torch.testing.assert_close(mine, other, rtol=tolerance, atol=tolerance)


def test_signals_of_mixed_dtypes_are_widened() -> None:
    inputs = problem(torch.bfloat16, 20, False, True)
    mixed = {**inputs, "delta": inputs["delta"].float()}
    wide = {name: tensor.float() for name, tensor in inputs.items()}
    y, y_wide = results(mixed, None)[0], results(wide, None)[0]
    torch.testing.assert_close(y.float(), y_wide, rtol=1e-2, atol=1e-2)
