"""mamba_ssm's norms without CUDA."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from evenfall_mamba.ssm.norm import on_any_device


def host_norm(
    x, weight, bias, residual=None, x1=None, weight1=None, bias1=None, eps=1e-6, dropout_p=0.0,
    rowscale=None, prenorm=False, residual_in_fp32=False, is_rms_norm=False,
    return_dropout_mask=False,
):  # fmt: skip
    """Has the arguments of mamba_ssm's layer_norm_fn."""
    raise AssertionError("the host's own was called")


@pytest.mark.parametrize("rms", [False, True])
def test_norms_off_cuda(rms: bool) -> None:
    norm = on_any_device(host_norm)
    x, weight, bias, residual = torch.randn(2, 8).bfloat16(), *torch.randn(3, 8)
    scale = torch.rand(2)
    total = x.float() * scale[:, None] + residual
    want = F.rms_norm(total, (8,), weight, 1e-6) + bias
    want = want if rms else F.layer_norm(total, (8,), weight, bias, 1e-6)
    out, sum_ = norm(x, weight, bias, residual, rowscale=scale, prenorm=True, is_rms_norm=rms)
    assert (out.dtype, sum_.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(out, want.bfloat16())
    torch.testing.assert_close(sum_, total)
    first = norm(x, weight, None, prenorm=True, residual_in_fp32=True, is_rms_norm=rms)[1]
    assert first.dtype == torch.float32
    assert norm(x, weight, None, is_rms_norm=rms).shape == x.shape
    with pytest.raises(AssertionError, match="the host's own"):
        norm(x, weight, None, x1=x)
