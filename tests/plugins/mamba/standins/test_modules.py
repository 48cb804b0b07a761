"""The stand-ins for the extensions, against the published formulas."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from evenfall_mamba.ssm.scan import selective_scan_fn
from evenfall_mamba.standins import causal_conv1d_cuda, selective_scan_cuda
from evenfall_mamba.standins.causal_conv1d import cpp_functions
from evenfall_mamba.standins.causal_conv1d.causal_conv1d_varlen import causal_conv1d_varlen_states

from ..formulas import (
    BATCH,
    CLOSE,
    DIM,
    WIDTH,
    conv_formula,
    conv_inputs,
    scan_formula,
    signals,
    wide,
)


@pytest.mark.parametrize("gated", [False, True])
def test_selective_scan_cuda(gated: bool) -> None:
    arguments = signals()
    arguments["B"], arguments["C"] = arguments["B"][:, None], arguments["C"][:, None]
    leaves = {name: t.clone().requires_grad_() for name, t in arguments.items()}
    plain = {**arguments, "z": None}
    out, x, *rest = selective_scan_cuda.fwd(*(arguments if gated else plain).values(), True)
    torch.testing.assert_close(out, selective_scan_fn(**plain, delta_softplus=True), **CLOSE)
    full = {**leaves, "B": wide(leaves["B"]), "C": wide(leaves["C"])}
    gate = {} if gated else {"z": torch.full_like(arguments["z"], 50.0)}
    want, last = scan_formula(*{**full, **gate}.values())
    want = want if gated else want / 50
    torch.testing.assert_close(x[:, :, -1, 1::2], last, **CLOSE)
    if gated:
        torch.testing.assert_close(rest[0], want, **CLOSE)
    dout = torch.randn_like(out)
    dz = torch.empty_like(out) if gated else None
    values = (arguments if gated else plain).values()
    got = selective_scan_cuda.bwd(*values, dout, x, out, dz, True, gated)
    names = ["u", "delta", "A", "B", "C", "D", "delta_bias", *(["z"] if gated else [])]
    want_gradients = torch.autograd.grad(want, [leaves[name] for name in names], dout)
    for gradient, expected in zip(got, want_gradients, strict=False):  # got may end with the output
        torch.testing.assert_close(gradient, expected, **CLOSE)
    assert len(got) == (9 if gated else 7)
    if gated:
        assert got[7] is dz
        torch.testing.assert_close(got[8], want, **CLOSE)


def test_cpp_functions() -> None:
    x, weight, bias = conv_inputs()
    before = torch.randn(BATCH, DIM, WIDTH - 1)
    final_out = torch.empty_like(before)
    out = cpp_functions.causal_conv1d_fwd_function(x, weight, bias, None, before, final_out, True)
    leaves = [t.clone().requires_grad_() for t in (x, weight, bias, before)]
    want = conv_formula(*leaves)
    torch.testing.assert_close(out, want, **CLOSE)
    assert torch.equal(final_out, x[..., -3:])
    dout, dfinal, dx = torch.randn_like(out), torch.randn_like(final_out), torch.empty_like(x)
    got = cpp_functions.causal_conv1d_bwd_function(
        x, weight, bias, dout, None, before, dfinal, dx, True, True
    )
    final = leaves[0][..., -3:]
    for gradient, expected in zip(
        got, torch.autograd.grad([want, final], leaves, [dout, dfinal]), strict=True
    ):
        torch.testing.assert_close(gradient, expected, **CLOSE)
    assert got[0] is dx
    *_, of_zero = cpp_functions.causal_conv1d_bwd_function(
        x, weight, bias, dout, None, None, None, None, True, True
    )
    leaf = torch.zeros_like(before).requires_grad_()
    (expected,) = torch.autograd.grad(conv_formula(x, weight, bias, leaf), leaf, dout)
    torch.testing.assert_close(of_zero, expected, **CLOSE)
    state = torch.zeros(BATCH, DIM, WIDTH - 1)
    step = cpp_functions.causal_conv1d_update_function(x, state, weight, bias, True, None, None)
    torch.testing.assert_close(step, conv_formula(x, weight, bias), **CLOSE)
    assert causal_conv1d_cuda.__all__ == sorted(causal_conv1d_cuda.__all__)


def test_varlen_states() -> None:
    x = torch.randn(7, DIM)
    states = causal_conv1d_varlen_states(x, torch.tensor([0, 2, 2, 7]), 4)
    assert torch.equal(states[0], F.pad(x[:2].T, (2, 0)))
    assert not states[1].any()
    assert torch.equal(states[2], x[3:].T)
    x[1] = torch.inf
    last = causal_conv1d_varlen_states(x, torch.tensor([0, 2, 7]), 6)[1]
    assert torch.equal(last, F.pad(x[2:].T, (1, 0))), "values of another sequence leak"
