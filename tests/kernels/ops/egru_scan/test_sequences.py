"""egru_scan: chunks, packed sequences, zoneout, DropConnect, low precision, extreme values."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch

from evenfall import use_backend
from evenfall_kernels import egru_scan

Make = Callable[..., dict[str, Any]]


def _close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("chunk", [1, 2, 7])
@pytest.mark.parametrize("batch", [1, 5])
def test_chunks_with_state_equal_the_whole(make_inputs: Make, chunk: int, batch: int) -> None:
    p = make_inputs(torch.float32, batch=batch, time=23)
    whole = egru_scan(**p)
    state, parts = p.pop("initial_state"), []
    for x in p.pop("x").split(chunk, 1):
        out = egru_scan(x, **p, initial_state=state)
        state = out.state
        parts.append(out.y)
    _close(torch.cat(parts, 1), whole.y)
    _close(state[0], whole.state[0])
    _close(state[1], whole.state[1])


def test_packed_equals_separate(make_inputs: Make) -> None:
    ends = [0, 5, 5, 6, 20, 31]
    p = make_inputs(torch.float32, batch=1, time=31, sequences=5)
    packed = egru_scan(**p, cu_seqlens=torch.tensor(ends), return_cells=True)
    x, (y, h) = p.pop("x"), p.pop("initial_state")
    for i, (first, end) in enumerate(pairwise(ends)):
        alone = egru_scan(
            x[:, first:end], **p, initial_state=(y[i : i + 1], h[i : i + 1]), return_cells=True
        )
        _close(packed.y[:, first:end], alone.y)
        _close(packed.cells[:, first:end], alone.cells)
        _close(packed.state[0][i : i + 1], alone.state[0])
        _close(packed.state[1][i : i + 1], alone.state[1])


def test_a_long_sequence_stays_close_to_the_reference(make_inputs: Make) -> None:
    p = make_inputs(torch.float32, batch=1, time=2047, units=8)
    got = egru_scan(**p).y
    want = egru_scan(**{k: _double(v) for k, v in p.items()}).y
    differing = ((got - want).abs() > 1e-3).float().mean()
    assert differing < 0.02  # a cell near its threshold can fire in one and not the other


def _double(value: Any) -> Any:
    return tuple(map(_double, value)) if isinstance(value, tuple) else value.double()


def test_dropconnect_is_a_product_with_r(make_inputs: Make) -> None:
    p = make_inputs(torch.float32)
    mask = (torch.rand(p["recurrent_kernel"].shape) > 0.5).float() * 2
    out = egru_scan(**p, dropconnect_mask=mask)
    p["recurrent_kernel"] = p["recurrent_kernel"] * mask
    _close(out.y, egru_scan(**p).y)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_zoneout_in_evaluation_blends(make_inputs: Make, backend: str) -> None:
    """c = p h' + (1 - p) c for the first step."""
    p = make_inputs(torch.float32, batch=4, time=1)
    with use_backend(backend):
        free = egru_scan(**p, return_cells=True).cells
        blend = egru_scan(**p, zoneout=0.3, return_cells=True).cells
    _close(blend[:, 0], 0.3 * p["initial_state"][1] + 0.7 * free[:, 0])


@pytest.mark.parametrize("batch", [1, 4])
def test_zoneout_in_training_keeps_h_with_its_probability(make_inputs: Make, batch: int) -> None:
    p = make_inputs(torch.float32, batch=batch, time=1, units=4000)
    torch.manual_seed(0)
    out = egru_scan(**p, zoneout=0.3, training=True, return_cells=True)
    share = (out.cells[:, 0] == p["initial_state"][1]).float().mean()
    assert abs(share - 0.3) < 0.05


def test_zoneout_mask_gradients_equal_the_reference(make_inputs: Make) -> None:
    results = {}
    for backend, dtype in (("cpu", torch.float32), ("reference", torch.float64)):
        p = make_inputs(dtype, batch=3, time=6)
        torch.manual_seed(3)
        with use_backend(backend):
            out = egru_scan(**p, zoneout=0.4, training=True, support=3.6)
        leaves = [t for t in p.values() if isinstance(t, torch.Tensor)]
        results[backend] = torch.autograd.grad(out.y.square().sum() + out.state[1].sum(), leaves)
    for got, want in zip(results["cpu"], results["reference"], strict=True):
        assert (got.double() - want).abs().max() < 1e-4 * want.abs().max()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_stays_close(make_inputs: Make, dtype: torch.dtype) -> None:
    p = make_inputs(torch.float32, batch=4, time=9, units=33)
    low = {
        k: tuple(s.detach() for s in v) if isinstance(v, tuple) else v.detach().to(dtype)
        for k, v in p.items()
    }
    low = {k: v if isinstance(v, tuple) else v.requires_grad_() for k, v in low.items()}
    got = egru_scan(**low)
    assert got.y.dtype == dtype
    assert got.state[1].dtype == torch.float32
    (got.y.float().sum() + got.state[1].sum()).backward()
    assert low["kernel"].grad.dtype == dtype
    assert low["kernel"].grad.isfinite().all()
    error = (got.y.float() - egru_scan(**p).y).abs()
    assert error.median() < 1e-2
    assert error.mean() < 3e-2


def test_autocast_multiplies_in_bfloat16(make_inputs: Make) -> None:
    p = make_inputs(torch.float32, batch=4, time=9)
    with torch.autocast("cpu", torch.bfloat16):
        out = egru_scan(**p)
    out.y.sum().backward()
    assert p["recurrent_kernel"].grad.dtype == torch.float32
    difference = (out.y - egru_scan(**p).y).abs()
    assert difference.max() > 0
    assert difference.median() < 1e-2


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("gate", [0, 1, 2])
@pytest.mark.parametrize(
    "value", [-float("inf"), -3e38, -1e4, -89.0, 89.0, 1e4, 3e38, float("inf")]
)
def test_extreme_gates(make_inputs: Make, batch: int, gate: int, value: float) -> None:
    results = []
    for backend, dtype in (("cpu", torch.float32), ("reference", torch.float64)):
        p = make_inputs(dtype, batch=batch)
        bias = p["bias"].detach().clone()
        bias[17 * gate : 17 * (gate + 1)] = value
        p["bias"] = bias.requires_grad_()
        with use_backend(backend):
            out = egru_scan(**p, return_cells=True)
            with torch.no_grad():
                quick = egru_scan(**p, return_cells=True)
        assert out.cells is not None
        assert quick.cells is not None
        grads = torch.autograd.grad(out.y.sum() + out.cells.sum(), [p["x"], p["threshold"], bias])
        results.append([t.double() for t in (out.y, out.cells, *quick.state, quick.cells, *grads)])
    for got, want in zip(*results, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4)


def test_nan_in_the_input_reaches_the_output(make_inputs: Make) -> None:
    for batch in (1, 4):
        p = make_inputs(torch.float32, batch=batch, time=3)
        x = p["x"].detach().clone()
        x[0, 1, 0] = float("nan")
        out = egru_scan(**{**p, "x": x})
        assert out.y[0, 1:].isnan().all()
        assert out.y[0, 0].isfinite().all()
