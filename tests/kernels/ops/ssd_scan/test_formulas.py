"""The reference against hand-worked values, the dual form, selective_scan, and itself in pieces."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from evenfall import use_backend
from evenfall_kernels import selective_scan, ssd_scan

from .cases import case


def test_two_steps_by_hand() -> None:
    """One head, channel and state; with A = -ln 2 a step of 1 halves the state."""
    one = torch.ones(1, 2, 1, 1)
    y, last = ssd_scan(
        torch.tensor([3.0, 5.0]).view(1, 2, 1, 1), torch.tensor([2.0, 1.0]).view(1, 2, 1),
        -torch.log(torch.tensor([2.0])), 2 * one, 10 * one, torch.tensor([0.5]),
        return_last_state=True, initial_state=torch.full((1, 1, 1, 1), 8.0),
    )  # fmt: skip
    # h1 = 8 / 4 + 2 * 3 * 2 = 14, h2 = 14 / 2 + 1 * 5 * 2 = 17
    assert y.flatten().tolist() == pytest.approx([141.5, 172.5])
    assert last.item() == pytest.approx(17)


def test_reference_equals_the_dual_form() -> None:
    """y = ((C B^T) * L) x: the matrix form of the paper."""
    p = case(batch=2, length=19, heads=4, groups=2, gate=True)(torch.float64, "cpu")
    dt = F.softplus(p["dt"] + p["dt_bias"])  # (B, L, H)
    time = (dt * p["A"]).cumsum(1)
    gaps = (time[:, :, None] - time[:, None]).permute(0, 3, 1, 2)  # (B, H, t, s)
    L = torch.exp(gaps).tril() * dt.permute(0, 2, 1)[:, :, None]
    B, C = (p[name].repeat_interleave(2, dim=2).transpose(1, 2) for name in "BC")
    y = ((C @ B.transpose(2, 3)) * L) @ p["x"].transpose(1, 2)
    carried = torch.exp(time).permute(0, 2, 1)[..., None] * (C @ p["initial_state"].transpose(2, 3))
    y = (y + carried).transpose(1, 2) + p["D"][:, None] * p["x"]
    torch.testing.assert_close(ssd_scan(**p), y * F.silu(p["z"]))


def test_a_decay_per_head_is_a_selective_scan() -> None:
    """With A, dt and D the same for all channels and states of a head, both operations agree."""
    p = case(batch=2, length=13, heads=4, groups=2)(torch.float64, "cpu")
    y, last = ssd_scan(**p, return_last_state=True)
    wide = {name: p[name].repeat_interleave(16, -1) for name in ("A", "D", "dt_bias")}
    other, state = selective_scan(
        p["x"].flatten(2).transpose(1, 2), p["dt"].repeat_interleave(16, -1).transpose(1, 2),
        wide["A"][:, None].expand(-1, 4), p["B"].permute(0, 2, 3, 1), p["C"].permute(0, 2, 3, 1),
        wide["D"], None, wide["dt_bias"], True, True,
        initial_state=p["initial_state"].flatten(1, 2),
    )  # fmt: skip
    torch.testing.assert_close(y.flatten(2).transpose(1, 2), other)
    torch.testing.assert_close(last.flatten(1, 2), state)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_pieces_equal_the_whole(backend: str) -> None:
    p = case(batch=2, length=90, heads=3)(torch.float32, "cpu")
    with use_backend(backend):
        whole, last = ssd_scan(**p, return_last_state=True)
        state, parts = p.pop("initial_state"), []
        for start, end in pairwise((0, 1, 64, 70, 90)):
            piece = {**p, **{name: p[name][:, start:end] for name in ("x", "dt", "B", "C")}}
            y, state = ssd_scan(**piece, initial_state=state, return_last_state=True)
            parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(state, last, rtol=1e-5, atol=1e-5)


def test_first_and_second_derivatives_of_the_reference() -> None:
    p = case(length=3, channels=2, states=2, gate=True)(torch.float64, "cpu")
    leaves = {k: v.requires_grad_() for k, v in p.items() if isinstance(v, torch.Tensor)}

    def run(*tensors: torch.Tensor) -> Any:
        return ssd_scan(**{**p, **dict(zip(leaves, tensors, strict=True))}, return_last_state=True)

    assert torch.autograd.gradcheck(run, tuple(leaves.values()))
    assert torch.autograd.gradgradcheck(run, tuple(leaves.values()))


def test_a_large_step_does_not_blur_the_small_ones_after_it() -> None:
    """Differences of a float32 running sum near -3000 would be wrong in the fourth digit."""
    p = case(length=60, heads=1)(torch.float32, "cpu")
    p["dt"] = torch.full_like(p["dt"], 0.01)
    p["dt"][:, 5] = 800.0
    p |= {"dt_softplus": False, "dt_bias": None, "A": torch.tensor([-4.0])}
    want = ssd_scan(**{k: v.double() if isinstance(v, torch.Tensor) else v for k, v in p.items()})
    got = ssd_scan(**p)
    assert (got - want).abs().max() < 1e-6 * want.abs().max()


def test_dt_limit_without_softplus_keeps_steps_from_being_negative() -> None:
    p = case(length=5, dt_softplus=False, dt_limit=(0.0, 0.3))(torch.float64, "cpu")
    limited = {**p, "dt": (p["dt"] + p["dt_bias"]).clamp(0, 0.3), "dt_bias": None}
    torch.testing.assert_close(ssd_scan(**p), ssd_scan(**limited))
