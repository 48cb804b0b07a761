"""The reference against the all-pairs form, and against itself cut into pieces."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from evenfall import use_backend
from evenfall.errors import BackendError, BackendWarning
from evenfall_kernels import selective_scan

from .cases import case


def _all_pairs(p: dict[str, Any], rule: str) -> torch.Tensor:
    """y_k = sum over j <= k of C_k exp(A s (x_k - x_j)) w_j B_j u_j, with x the running time."""
    delta = F.softplus(p["delta"] + p["delta_bias"][:, None])
    decay = p["step"][:, None] * p["step_scale"][:, None] if "step" in p else delta
    time = decay.cumsum(-1)  # (B, D, L)
    A = p["A"][None, :, :, None]  # (1, D, N, 1)
    if rule == "mamba":
        w = delta[:, :, None]
    elif rule == "zoh":
        w = torch.expm1(delta[:, :, None] * A) / A
    elif rule == "async":
        w = torch.expm1(p["step_scale"][None, :, None, None] * A) / A
    else:
        w = torch.ones(())
    push = w * p["B"][:, None] * p["u"][:, :, None]  # (B, D, N, L)
    gaps = time[:, :, None, :, None] - time[:, :, None, None, :]  # (B, D, 1, k, j)
    kernel = torch.exp(A[..., None] * gaps).tril()
    h = (kernel @ push[..., None])[..., 0]
    h = h + torch.exp(A * time[:, :, None]) * p["initial_state"][..., None]
    y = (h * p["C"][:, None]).sum(2) + p["D"][:, None] * p["u"]
    return y * F.silu(p["z"])


@pytest.mark.parametrize(
    ("rule", "step"),
    [("mamba", False), ("mamba", True), ("zoh", False), ("zoh", True), ("dirac", True),
     ("async", True)],
)  # fmt: skip
def test_reference_equals_the_all_pairs_form(rule: str, step: bool) -> None:
    p = case(batch=2, channels=3, length=19, step=step)(torch.float64, "cpu")
    torch.testing.assert_close(selective_scan(**p, discretization=rule), _all_pairs(p, rule))


def test_second_derivatives_exist() -> None:
    p = case(channels=2, length=3, states=2, step=True)(torch.float64, "cpu")
    leaves = {k: v.requires_grad_() for k, v in p.items() if isinstance(v, torch.Tensor)}

    def run(*tensors: torch.Tensor) -> Any:
        inputs = {**p, **dict(zip(leaves, tensors, strict=True))}
        return selective_scan(**inputs, discretization="zoh", return_last_state=True)

    assert torch.autograd.gradgradcheck(run, tuple(leaves.values()))


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_packed_equals_separate(backend: str) -> None:
    ends = [0, 5, 5, 40, 73]
    p = case(channels=18, length=73, step=True, ends=ends)(torch.float32, "cpu")
    with use_backend(backend):
        y, last = selective_scan(**p, return_last_state=True)
        for s, (start, end) in enumerate(pairwise(ends)):
            one = {k: v for k, v in p.items() if k != "cu_seqlens"}
            for name in ("u", "delta", "B", "C", "z", "step"):
                one[name] = one[name][..., start:end]
            one["initial_state"] = one["initial_state"][s : s + 1]
            y_one, last_one = selective_scan(**one, return_last_state=True)
            torch.testing.assert_close(y[..., start:end], y_one)
            torch.testing.assert_close(last[s], last_one[0])


def test_pieces_with_state_equal_the_whole_with_gradients() -> None:
    p = case(batch=2, channels=18, length=70)(torch.float32, "cpu")
    leaves = {k: v.requires_grad_() for k, v in p.items() if isinstance(v, torch.Tensor)}
    whole, last = selective_scan(**p, return_last_state=True)
    pieces, state = [], p["initial_state"]
    for start, end in ((0, 8), (8, 9), (9, 70)):
        part = dict(p, initial_state=state)
        for name in ("u", "delta", "B", "C", "z"):
            part[name] = part[name][..., start:end]
        y, state = selective_scan(**part, return_last_state=True)
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, -1), whole)
    torch.testing.assert_close(state, last)
    grads = [
        torch.autograd.grad(y.sin().sum() + h.cos().sum(), list(leaves.values()))
        for y, h in ((whole, last), (torch.cat(pieces, -1), state))
    ]
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_step_of_zero_without_input_keeps_the_state() -> None:
    p = case(channels=18, length=40, step=True)(torch.float32, "cpu")
    p["step"], p["u"] = torch.zeros_like(p["step"]), torch.zeros_like(p["u"])
    _, last = selective_scan(**p, return_last_state=True)
    assert torch.equal(last, p["initial_state"])


def test_zoh_factor_near_zero() -> None:
    """A of 0 and tiny steps: the factor approaches delta without cancellation."""
    p = case(channels=16, length=10, discretization="zoh", delta_softplus=False)(
        torch.float32, "cpu"
    )
    p["A"] = torch.cat([torch.zeros(8, 4), torch.full((8, 4), -1e-4)])
    p["delta"], p["delta_bias"] = torch.full_like(p["delta"], 1e-3), torch.zeros(16)
    p["initial_state"] = torch.zeros_like(p["initial_state"])
    exact = {k: v.double() if isinstance(v, torch.Tensor) else v for k, v in p.items()}
    torch.testing.assert_close(
        selective_scan(**p).double(), selective_scan(**exact), rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("rule", ["zoh", "async"])
@pytest.mark.parametrize("rate", [0.0, -1e-8, -0.1, -0.7])
def test_gradient_of_a_small_rate(backend: str, rule: str, rate: float) -> None:
    """dA at and near 0, where the quotient (exp(t A) - 1) / A cancels, by central differences."""
    p = case(channels=3, length=6, states=2, step=True, discretization=rule)(torch.float64, "cpu")
    A = torch.full((3, 2), rate, dtype=torch.float64)

    def loss(A: torch.Tensor) -> torch.Tensor:
        off_zero = torch.where(A == 0, 1e-12, A)  # the plain quotient has no value at 0
        return _all_pairs({**p, "A": off_zero}, rule).sum()

    step = 1e-3
    want = torch.stack([
        (loss(A + step * unit) - loss(A - step * unit)) / (2 * step)
        for unit in torch.eye(6, dtype=torch.float64).view(6, 3, 2)
    ]).view(3, 2)  # fmt: skip
    dtype = torch.float64 if backend == "reference" else torch.float32
    inputs = {k: v.to(dtype) if isinstance(v, torch.Tensor) else v for k, v in p.items()}
    inputs["A"] = A.to(dtype).requires_grad_()
    with use_backend(backend):
        selective_scan(**inputs).sum().backward()
    torch.testing.assert_close(inputs["A"].grad.double(), want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("names", [("B",), ("C",), ("B", "C")])
@pytest.mark.parametrize("groups", [None, 3])
def test_constant_b_and_c(names: tuple[str, ...], groups: int | None) -> None:
    """(channels, states), as in mamba_ssm, means the same value at every step."""
    p = case(batch=2, channels=6, length=9, groups=groups)(torch.float32, "cpu")
    full = dict(p)
    for name in ("B", "C"):
        if name in names:
            constant = torch.randn(6, 4)
            p[name] = constant.requires_grad_()
            full[name] = constant[None, :, :, None].expand(2, 6, 4, 9)
        elif groups is None:
            full[name] = p[name][:, None].expand(2, 6, 4, 9)
        else:
            full[name] = p[name].repeat_interleave(2, dim=1)
    results = [selective_scan(**inputs) for inputs in (p, full)]
    torch.testing.assert_close(*results)
    leaves = [p[name] for name in names]
    grads = [torch.autograd.grad(y.square().sum(), leaves) for y in results]
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("rule", ["mamba", "zoh"])
@pytest.mark.parametrize("size", [-1e4, -100.0, -50.0, 50.0, 1e4])
def test_overflow_is_infinite(rule: str, size: float) -> None:
    """Without softplus a negative delta makes the state grow without bound, as in PyTorch."""
    p = case(channels=16, length=1, gate=False, delta_softplus=False, discretization=rule)(
        torch.float32, "cpu"
    )
    p["A"], p["delta"] = torch.full((16, 4), -1.0), torch.full_like(p["delta"], size)
    del p["delta_bias"]
    _, got = selective_scan(**p, return_last_state=True)
    with use_backend("reference"):
        _, want = selective_scan(**p, return_last_state=True)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("value", [-3e38, -1e30, -100.0, 100.0])
def test_extreme_gates(value: float) -> None:
    p = case(channels=16, length=3)(torch.float32, "cpu")
    p["z"] = torch.full_like(p["z"], value)
    with use_backend("reference"):
        want = selective_scan(**p)
    torch.testing.assert_close(selective_scan(**p), want, rtol=1e-4, atol=1e-4)


def test_nan_reaches_the_output() -> None:
    p = case(channels=18, length=40)(torch.float32, "cpu")
    p["delta"][0, 3, 20] = float("nan")
    y = selective_scan(**p)
    assert y[0, 3, 20:].isnan().all()
    assert y[0, :3].isfinite().all()
    assert y[0, 3, :20].isfinite().all()


def test_equals_transformers() -> None:
    mamba = pytest.importorskip("transformers.models.mamba.modeling_mamba")
    p = case(batch=2, channels=20, length=33, states=16)(torch.float32, "cpu")
    del p["initial_state"]
    y, last = selective_scan(**p, return_last_state=True)
    names = ("u", "delta", "A", "B", "C")
    rest = {k: v for k, v in p.items() if k not in names}
    theirs = mamba.mamba_selective_scan(*(p[n] for n in names), **rest, return_last_state=True)
    torch.testing.assert_close(y, theirs[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(last, theirs[1], rtol=1e-4, atol=1e-5)


def test_channels_last_memory() -> None:
    """(B, L, D) tensors transposed: same values, and gradients in the same layout."""
    p = case(batch=2, channels=20, length=40)(torch.float32, "cpu")
    channels_last = dict(p)
    for name in ("u", "delta", "z", "B", "C"):
        channels_last[name] = p[name].transpose(1, 2).contiguous().transpose(1, 2).requires_grad_()
    y = selective_scan(**channels_last)
    torch.testing.assert_close(y, selective_scan(**p))
    (d_delta,) = torch.autograd.grad(y.sum(), channels_last["delta"])
    assert d_delta.stride() == channels_last["delta"].stride()


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_bilinear_is_the_trapezoidal_rule(backend: str) -> None:
    """(h_k - h_(k-1)) / delta = A (h_k + h_(k-1)) / 2 + B u_k, also where delta A < -2."""
    p = case(channels=16, length=20, states=1, gate=False, delta_softplus=False)(
        torch.float32, "cpu"
    )
    p["C"], p["D"] = torch.ones_like(p["C"]), torch.zeros(16)
    p["delta"] = 3 * p["delta"]
    with use_backend(backend):
        h = selective_scan(**p, discretization="bilinear")
    before = torch.cat([p["initial_state"][..., 0][..., None], h[..., :-1]], -1)
    delta = p["delta"] + p["delta_bias"][:, None]
    assert (delta * p["A"] < -2).any()
    slope = p["A"] * (h + before) / 2 + p["B"] * p["u"]
    torch.testing.assert_close(h - before, delta * slope, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rule", ["mamba", "zoh", "bilinear", "dirac", "async"])
@pytest.mark.filterwarnings("ignore::evenfall.errors.BackendWarning")
def test_a_step_of_each_channel_scans_it_alone(rule: str) -> None:
    p = case(batch=2, channels=3, length=9, step="free", discretization=rule)(torch.float32, "cpu")
    y, last = selective_scan(**p, return_last_state=True)
    for d in range(3):
        names = ("u", "delta", "z", "initial_state")
        one = p | {name: p[name][:, d : d + 1] for name in names}
        one |= {name: p[name][d : d + 1] for name in ("A", "D", "delta_bias", "step_scale")}
        one["step"] = p["step"][:, d]
        y_one, last_one = selective_scan(**one, return_last_state=True)
        torch.testing.assert_close(y[:, d : d + 1], y_one)
        torch.testing.assert_close(last[:, d : d + 1], last_one)


def test_what_a_backend_lacks_runs_in_plain_pytorch() -> None:
    p = case(length=5, step="free", discretization="zoh")(torch.float32, "cpu")
    with use_backend("reference"):
        want = selective_scan(**p)
    with pytest.warns(BackendWarning, match="'cpu' does not have a step of each channel"):
        torch.testing.assert_close(selective_scan(**p), want)
    with use_backend("cpu"), pytest.raises(BackendError, match="'cpu' does not have a step of e"):
        selective_scan(**p)
