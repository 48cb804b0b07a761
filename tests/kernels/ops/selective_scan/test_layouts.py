"""selective_scan of channels-last tensors, the output of linear layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from evenfall_kernels import selective_scan

ENDS = torch.tensor([0, 1, 33, 33, 70])
SIGNALS = ("u", "delta", "z")


def channels_last(tensor: Tensor) -> Tensor:
    return tensor.transpose(1, 2).contiguous().transpose(1, 2)


def make_inputs(dtype: torch.dtype, channels: int, packed: bool, gate: bool) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(channels)
    batch = 1 if packed else 2
    shapes = {
        "u": (batch, channels, 70), "delta": (batch, channels, 70), "z": (batch, channels, 70),
        "B": (batch, 3, 70), "C": (batch, 3, 70), "D": (channels,), "delta_bias": (channels,),
    }  # fmt: skip
    inputs = {name: torch.randn(s, generator=generator).to(dtype) for name, s in shapes.items()}
    inputs["A"] = -torch.rand(channels, 3, generator=generator) - 0.1
    if not gate:
        del inputs["z"]
    return inputs


def results(inputs: dict[str, Any], ends: Tensor | None) -> tuple[Tensor, ...]:
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in inputs.items()}
    y, last = selective_scan(**leaves, delta_softplus=True, return_last_state=True, cu_seqlens=ends)
    weights = torch.linspace(-1, 1, y.numel()).view(y.shape).to(y.dtype)
    loss = (y * weights).sum() + last.square().sum()
    return y, last, *torch.autograd.grad(loss, list(leaves.values()))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("gate", [False, True])
@pytest.mark.parametrize("channels", [7, 48])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equals_the_other_layout(
    dtype: torch.dtype, channels: int, gate: bool, packed: bool
) -> None:
    inputs, ends = make_inputs(dtype, channels, packed, gate), ENDS if packed else None
    other = {name: channels_last(t) if name in SIGNALS else t for name, t in inputs.items()}
    got, want = results(other, ends), results(inputs, ends)
    assert got[0].stride() == other["u"].stride()
    for one, expected in zip(got, want, strict=True):
        tolerance = 2e-2 if dtype == torch.bfloat16 else 1e-5
        torch.testing.assert_close(one, expected, rtol=tolerance, atol=tolerance)


def test_signals_of_mixed_dtypes_are_widened() -> None:
    inputs = make_inputs(torch.bfloat16, 20, False, True)
    mixed = {**inputs, "delta": inputs["delta"].float()}
    wide = {name: tensor.float() for name, tensor in inputs.items()}
    y, y_wide = results(mixed, None)[0], results(wide, None)[0]
    torch.testing.assert_close(y.float(), y_wide, rtol=1e-2, atol=1e-2)
