"""egru_scan with stored matrices equals egru_scan with the same matrices, dense."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from evenfall import use_backend
from evenfall_kernels import (
    EgruScan,
    StoredMatrix,
    compress_blocks,
    compress_rows,
    egru_scan,
    egru_scan_stored,
    quantize_rows,
)

INPUTS, UNITS = 19, 23


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def vectors() -> tuple[Tensor, Tensor, Tensor]:
    return draw(3 * UNITS), draw(3 * UNITS, seed=1), draw(UNITS).abs().clamp(max=1) * 0.3


def store(kind: str, dense: Tensor) -> StoredMatrix:
    sparse = dense * (draw(*dense.shape, seed=2) > 0.8)
    if kind == "rows":
        return StoredMatrix(*quantize_rows(dense))
    return StoredMatrix(
        compress_rows(sparse) if kind == "compressed" else compress_blocks(sparse, 4)
    )


def matrices(kind: str) -> tuple[StoredMatrix, StoredMatrix]:
    return store(kind, draw(INPUTS, 3 * UNITS)), store(kind, draw(UNITS, 3 * UNITS))


def assert_equal(got: EgruScan, want: EgruScan) -> None:
    for mine, theirs in zip((got.y, *got.state), (want.y, *want.state), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)
    for mine, theirs in ((got.events, want.events), (got.cells, want.cells)):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["rows", "compressed", "blocks"])
@pytest.mark.parametrize(
    ("batch", "time", "options"),
    [
        (1, 1, {}),
        (1, 63, {"return_events": True, "return_cells": True}),
        (2, 5, {"zoneout": 0.2}),
        (4, 7, {"initial_state": (draw(4, UNITS), draw(4, UNITS, seed=1))}),
        (1, 12, {"cu_seqlens": torch.tensor([0, 5, 5, 12])}),
        (1, 0, {}),
        (0, 3, {}),
    ],
)
def test_equals_the_dense_scan(kind: str, batch: int, time: int, options: dict[str, Any]) -> None:
    kernel, recurrent = matrices(kind)
    x = draw(batch, time, INPUTS) * (draw(batch, time, INPUTS, seed=3) > 0)
    with torch.no_grad():
        got = egru_scan_stored(x, kernel, recurrent, *vectors(), **options)
        want = egru_scan(x, kernel.dense(), recurrent.dense(), *vectors(), **options)
    assert_equal(got, want)


@pytest.mark.parametrize("dense", ["kernel", "recurrent_kernel"])
def test_one_matrix_may_be_dense(dense: str) -> None:
    kernel, recurrent = matrices("blocks")
    x, pair = draw(1, 5, INPUTS), {"kernel": kernel, "recurrent_kernel": recurrent}
    pair[dense] = pair[dense].dense()
    with torch.no_grad():
        got = egru_scan_stored(x, *pair.values(), *vectors())
        assert_equal(got, egru_scan(x, kernel.dense(), recurrent.dense(), *vectors()))


@pytest.mark.parametrize("options", [{}, {"variant": "paper"}])
def test_with_gradients_or_another_variant_the_matrices_are_made_dense(
    options: dict[str, Any],
) -> None:
    kernel, recurrent = matrices("blocks")
    x = draw(2, 5, INPUTS).requires_grad_()
    got = egru_scan_stored(x, kernel, recurrent, *vectors(), **options)
    want = egru_scan(x, kernel.dense(), recurrent.dense(), *vectors(), **options)
    assert_equal(got, want)
    grads = (torch.autograd.grad(out.y.square().sum(), x)[0] for out in (got, want))
    torch.testing.assert_close(*grads)


def test_the_reference_backend_can_be_forced() -> None:
    kernel, recurrent = matrices("blocks")
    x = draw(1, 5, INPUTS)
    with torch.no_grad(), use_backend("reference"):
        got = egru_scan_stored(x, kernel, recurrent, *vectors())
        assert_equal(got, egru_scan(x, kernel.dense(), recurrent.dense(), *vectors()))


def test_bfloat16_input_keeps_its_dtype() -> None:
    kernel, recurrent = matrices("blocks")
    with torch.no_grad():
        out = egru_scan_stored(draw(1, 5, INPUTS).bfloat16(), kernel, recurrent, *vectors())
    assert (out.y.dtype, out.state[0].dtype) == (torch.bfloat16, torch.float32)


def test_wrong_arguments() -> None:
    kernel, recurrent = matrices("blocks")
    x = draw(1, 5, INPUTS)
    with torch.no_grad():
        with pytest.raises(ValueError, match="cannot be trained"):
            egru_scan_stored(x, kernel, recurrent, *vectors(), training=True)
        with pytest.raises(ValueError, match="kernel must have shape"):
            egru_scan_stored(x[..., :5], kernel, recurrent, *vectors())
        with pytest.raises(ValueError, match="initial_state's y must have shape"):
            egru_scan_stored(x, kernel, recurrent, *vectors(), initial_state=(x[0], x[0]))
        with pytest.raises(TypeError, match=r"option must be one of \(.*, got 'zone_out'"):
            egru_scan_stored(x, kernel, recurrent, *vectors(), zone_out=0.1)
