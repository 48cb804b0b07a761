"""The reference against the equations, step by step in NumPy, with the backward pass by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from evenfall import use_backend
from evenfall_kernels import egru_scan

DAMPENING, SUPPORT, DECAY = 3.6, 3.6, 0.9


def _sigmoid(v: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-v))


def _by_hand(p: dict[str, Any], grads: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Forward and backward pass, with the trace 0.9 trace' + 0.1 y as an extra output."""
    x, W, R = p["x"], p["kernel"], p["recurrent_kernel"]
    bx, br, thr = p["bias"], p["recurrent_bias"], p["threshold"]
    (B, T, _), H = x.shape, thr.size
    y, h = p["y"], p["h"]
    trace, steps = np.zeros((B, H)), []
    out = {k: np.zeros((B, T, H)) for k in ("y", "events", "cells", "trace")}
    for t in range(T):
        q = y @ R + br
        a = x[:, t] @ W + bx
        z, r = _sigmoid(a[:, :H] + q[:, :H]), _sigmoid(a[:, H : 2 * H] + q[:, H : 2 * H])
        g = np.tanh(a[:, 2 * H :] + r * q[:, 2 * H :])
        c = z * h + (1 - z) * g
        o = (c > thr).astype(float)
        steps.append((y, h, z, r, g, q[:, 2 * H :], c, o))
        y, h = o * c, c - o * thr
        trace = DECAY * trace + 0.1 * y
        for name, value in (("y", y), ("events", o), ("cells", c), ("trace", trace)):
            out[name][:, t] = value
    d: dict[str, Any] = {k: np.zeros_like(p[k]) for k in p}
    dy_next, dh, dtrace = grads["last_y"].copy(), grads["last_h"].copy(), np.zeros((B, H))
    for t in reversed(range(T)):
        y0, h0, z, r, g, qg, c, o = steps[t]
        dtrace = grads["trace"][:, t] + DECAY * dtrace
        dy = grads["y"][:, t] + dy_next + 0.1 * dtrace
        do = grads["events"][:, t] + c * dy - thr * dh
        dv = DAMPENING * np.maximum(0, 1 - SUPPORT * np.abs(c - thr)) * do
        d["threshold"] -= (dv + o * dh).sum(0)
        dc = o * dy + dv + dh + grads["cells"][:, t]
        dg, dz = (1 - z) * dc, (h0 - g) * dc
        dp_g = (1 - g * g) * dg
        dp_r, dp_z = r * (1 - r) * dp_g * qg, z * (1 - z) * dz
        dp = np.concatenate([dp_z, dp_r, dp_g], 1)
        dq = np.concatenate([dp_z, dp_r, r * dp_g], 1)
        d["kernel"] += x[:, t].T @ dp
        d["recurrent_kernel"] += y0.T @ dq
        d["bias"] += dp.sum(0)
        d["recurrent_bias"] += dq.sum(0)
        d["x"][:, t] = dp @ W.T
        dy_next, dh = dq @ R.T, z * dc
    d["y"], d["h"] = dy_next, dh
    return {**out, **{f"d_{k}": v for k, v in d.items()}}


def _trace(y: torch.Tensor) -> torch.Tensor:
    trace, traces = torch.zeros_like(y[:, 0]), []
    for t in range(y.shape[1]):
        trace = DECAY * trace + 0.1 * y[:, t]
        traces.append(trace)
    return torch.stack(traces, 1)


@pytest.mark.parametrize("seed", range(3))
def test_reference_equals_the_equations(make_inputs: Callable[..., Any], seed: int) -> None:
    inputs = make_inputs(torch.float64, batch=4, time=11, seed=seed)
    out = egru_scan(
        **inputs, dampening=DAMPENING, support=SUPPORT, return_events=True, return_cells=True
    )
    outputs = {
        "y": out.y, "events": out.events, "cells": out.cells, "trace": _trace(out.y),
        "last_y": out.state[0], "last_h": out.state[1],
    }  # fmt: skip
    generator = torch.Generator().manual_seed(seed + 100)
    grads = {
        k: torch.randn(v.shape, generator=generator, dtype=v.dtype) for k, v in outputs.items()
    }
    loss = sum((outputs[k] * grads[k]).sum() for k in outputs)
    leaves = {**inputs, "y": inputs["initial_state"][0], "h": inputs["initial_state"][1]}
    del leaves["initial_state"]
    gradients = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))

    want = _by_hand(
        {k: v.detach().numpy() for k, v in leaves.items()}, {k: g.numpy() for k, g in grads.items()}
    )
    for name in ("y", "events", "cells", "trace"):
        np.testing.assert_allclose(outputs[name].detach().numpy(), want[name], atol=1e-12)
    for name, gradient in gradients.items():
        scale = np.abs(want[f"d_{name}"]).max()
        assert np.abs(gradient.numpy() - want[f"d_{name}"]).max() < 1e-10 * scale, name


def test_equality_with_the_threshold_does_not_fire() -> None:
    """z = 0.5 and g = 0 leave c = h' / 2: exactly the threshold for h' = 1, thr = 0.5."""
    units = 4
    zeros = torch.zeros(1, 1, 2), torch.zeros(2, 3 * units), torch.zeros(units, 3 * units)
    state = torch.zeros(1, units), torch.ones(1, units)
    bias = torch.zeros(3 * units)
    for event_driven in (True, False):
        out = egru_scan(
            *zeros, bias, bias, torch.full((units,), 0.5), initial_state=state,
            return_events=True, event_driven=event_driven,
        )  # fmt: skip
        assert out.events is not None
        assert out.events.sum() == 0
        assert torch.equal(out.state[1], torch.full((1, units), 0.5))


def test_the_paper_form(make_inputs: Callable[..., Any]) -> None:
    """c = z c' + (1 - z) tanh(x W_g + (r y') R_g + b) - y', for one step."""
    p = make_inputs(torch.float64, time=1)
    y, h = p["initial_state"]
    out = egru_scan(**p, variant="paper", return_cells=True)
    units = 17
    a = p["x"][:, 0] @ p["kernel"] + p["bias"]
    q = y @ p["recurrent_kernel"] + p["recurrent_bias"]
    z = torch.sigmoid(a[:, :units] + q[:, :units])
    r = torch.sigmoid(a[:, units : 2 * units] + q[:, units : 2 * units])
    candidate = (r * y) @ p["recurrent_kernel"][:, 2 * units :] + p["recurrent_bias"][2 * units :]
    c = z * h + (1 - z) * torch.tanh(a[:, 2 * units :] + candidate) - y
    torch.testing.assert_close(out.cells[:, 0], c)
    torch.testing.assert_close(out.y[:, 0], c * (c > p["threshold"]))
    torch.testing.assert_close(out.state[1], c)


def test_the_reference_differentiates_twice(make_inputs: Callable[..., Any]) -> None:
    """Second derivatives of the smooth part exist and agree with finite differences."""
    p = make_inputs(torch.float64, batch=1, time=3, units=3)
    p["threshold"] = torch.full((3,), 0.9, dtype=torch.float64)

    def smooth(x: torch.Tensor) -> torch.Tensor:
        return egru_scan(**{**p, "x": x}, dampening=0.0).state[1]

    with use_backend("reference"):
        assert torch.autograd.gradgradcheck(smooth, (p["x"],))
