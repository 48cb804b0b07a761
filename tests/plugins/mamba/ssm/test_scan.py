"""selective_scan_fn and mamba_inner_fn against their published formulas."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from evenfall_mamba.ssm.scan import mamba_inner_fn, selective_scan_fn

from ..formulas import (
    BATCH,
    CLOSE,
    DIM,
    LENGTH,
    STATES,
    WIDTH,
    conv_formula,
    scan_formula,
    signals,
    wide,
)


@pytest.mark.parametrize("shape", ["variable", "grouped", "constant"])
def test_selective_scan_fn(shape: str) -> None:
    arguments = signals()
    if shape == "grouped":
        arguments |= {name: torch.randn(BATCH, 2, STATES, LENGTH) for name in "BC"}
    elif shape == "constant":
        arguments |= {name: torch.randn(DIM, STATES) for name in "BC"}
    out, last = selective_scan_fn(*arguments.values(), True, True)
    full = {**arguments, "B": wide(arguments["B"]), "C": wide(arguments["C"])}
    want, want_last = scan_formula(*full.values())
    torch.testing.assert_close(out, want, **CLOSE)
    torch.testing.assert_close(last, want_last, **CLOSE)


def test_complex_scan_is_refused() -> None:
    arguments = signals()
    with pytest.raises(TypeError, match="A must be real, got a complex tensor"):
        selective_scan_fn(**{**arguments, "A": arguments["A"].to(torch.complex64)})


def test_mamba_inner_fn() -> None:
    rank, model = 3, 5
    arguments = signals()
    xz = torch.randn(BATCH, 2 * DIM, LENGTH)
    conv, x_proj = torch.randn(DIM, 1, WIDTH), 0.3 * torch.randn(rank + 2 * STATES, DIM)
    dt_proj, out_proj, bias = torch.randn(DIM, rank), torch.randn(model, DIM), torch.randn(model)
    weights = {"B": torch.rand(STATES), "C": torch.rand(STATES), "dt": torch.rand(DIM)}
    add = torch.randn(2, STATES)

    def rms_norm(signal: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(signal, signal.shape[-1:], weight, 1e-6)

    x = conv_formula(xz[:, :DIM], conv[:, 0], arguments["D"])
    parts = (x.transpose(1, 2) @ x_proj.T).split([rank, STATES, STATES], -1)
    delta = rms_norm(parts[0] @ dt_proj.T, weights["dt"]).transpose(1, 2)
    B = rms_norm(parts[1] + add[0], weights["B"]).transpose(1, 2)
    C = rms_norm(parts[2] + add[1], weights["C"]).transpose(1, 2)
    y, _ = scan_formula(
        x, delta, arguments["A"], wide(B), wide(C), arguments["D"], xz[:, DIM:],
        arguments["delta_bias"],
    )  # fmt: skip
    got = mamba_inner_fn(
        xz, conv, arguments["D"], x_proj, dt_proj, out_proj, bias, arguments["A"], None, None,
        arguments["D"], arguments["delta_bias"], add[0], add[1], True, 1, weights["B"],
        weights["C"], weights["dt"],
    )  # fmt: skip
    torch.testing.assert_close(got, y.transpose(1, 2) @ out_proj.T + bias, **CLOSE)
