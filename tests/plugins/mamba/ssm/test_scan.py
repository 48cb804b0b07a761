"""mamba_ssm's functions around the scan against their published formulas."""

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
    given = signals()
    if shape == "grouped":
        given |= {name: torch.randn(BATCH, 2, STATES, LENGTH) for name in "BC"}
    elif shape == "constant":
        given |= {name: torch.randn(DIM, STATES) for name in "BC"}
    out, last = selective_scan_fn(*given.values(), True, True)
    wanted = {**given, "B": wide(given["B"]), "C": wide(given["C"])}
    want, want_last = scan_formula(*wanted.values())
    torch.testing.assert_close(out, want, **CLOSE)
    torch.testing.assert_close(last, want_last, **CLOSE)


def test_complex_scan_is_refused() -> None:
    given = signals()
    with pytest.raises(TypeError, match="A must be real"):
        selective_scan_fn(**{**given, "A": given["A"].to(torch.complex64)})


def test_mamba_inner_fn() -> None:
    rank, model = 3, 5
    given = signals()
    xz = torch.randn(BATCH, 2 * DIM, LENGTH)
    conv, x_proj = torch.randn(DIM, 1, WIDTH), 0.3 * torch.randn(rank + 2 * STATES, DIM)
    dt_proj, out_proj, bias = torch.randn(DIM, rank), torch.randn(model, DIM), torch.randn(model)
    weights = {"B": torch.rand(STATES), "C": torch.rand(STATES), "dt": torch.rand(DIM)}
    add = torch.randn(2, STATES)

    def normed(signal: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(signal, signal.shape[-1:], weight, 1e-6)

    x = conv_formula(xz[:, :DIM], conv[:, 0], given["D"])
    parts = (x.transpose(1, 2) @ x_proj.T).split([rank, STATES, STATES], -1)
    delta = normed(parts[0] @ dt_proj.T, weights["dt"]).transpose(1, 2)
    B = normed(parts[1] + add[0], weights["B"]).transpose(1, 2)
    C = normed(parts[2] + add[1], weights["C"]).transpose(1, 2)
    y, _ = scan_formula(
        x, delta, given["A"], wide(B), wide(C), given["D"], xz[:, DIM:], given["delta_bias"]
    )
    got = mamba_inner_fn(
        xz, conv, given["D"], x_proj, dt_proj, out_proj, bias, given["A"], None, None, given["D"],
        given["delta_bias"], add[0], add[1], True, 1, weights["B"], weights["C"], weights["dt"],
    )  # fmt: skip
    torch.testing.assert_close(got, y.transpose(1, 2) @ out_proj.T + bias, **CLOSE)
