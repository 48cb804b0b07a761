"""Our functions under mamba_ssm's and causal_conv1d's names, against their published formulas."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from evenfall_mamba.ssm.convolution import causal_conv1d_fn, causal_conv1d_update
from evenfall_mamba.ssm.events import IdleEvent, with_events
from evenfall_mamba.ssm.norm import off_cuda
from evenfall_mamba.ssm.scan import mamba_inner_fn, selective_scan_fn
from evenfall_mamba.ssm.step import selective_state_update
from evenfall_mamba.standins import causal_conv1d_cuda, selective_scan_cuda
from evenfall_mamba.standins.causal_conv1d import cpp_functions
from evenfall_mamba.standins.causal_conv1d.causal_conv1d_varlen import causal_conv1d_varlen_states

CLOSE: dict[str, float] = {"rtol": 1e-4, "atol": 1e-5}
BATCH, DIM, STATES, LENGTH, WIDTH = 2, 6, 4, 9, 4


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def scan_formula(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    """h <- exp(delta A) h + delta B u; y = C h + D u, through the gate; B, C as (B, D, N, L)."""
    delta = F.softplus(delta + bias[:, None])
    h, out = torch.zeros(BATCH, DIM, A.shape[1]), []
    for k in range(u.shape[2]):
        step = delta[:, :, k, None]
        h = torch.exp(step * A) * h + step * B[..., k] * u[:, :, k, None]
        out.append((h * C[..., k]).sum(-1))
    return (torch.stack(out, 2) + D[:, None] * u) * F.silu(z), h


def signals() -> dict[str, Tensor]:
    wave = torch.randn(3, BATCH, DIM, LENGTH).unbind()
    return {
        "u": wave[0], "delta": wave[1], "A": -torch.rand(DIM, STATES),
        "B": torch.randn(BATCH, STATES, LENGTH), "C": torch.randn(BATCH, STATES, LENGTH),
        "D": torch.randn(DIM), "z": wave[2], "delta_bias": torch.randn(DIM),
    }  # fmt: skip


def wide(signal: Tensor) -> Tensor:
    """Any of the published shapes of B and C as (B, D, N, L)."""
    if signal.dim() == 2:
        return signal[None, :, :, None].expand(BATCH, -1, -1, LENGTH)
    groups = signal[:, None] if signal.dim() == 3 else signal
    return groups.repeat_interleave(DIM // groups.shape[1], 1)


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


@pytest.mark.parametrize("gated", [False, True])
def test_selective_scan_cuda(gated: bool) -> None:
    given = signals()
    given["B"], given["C"] = given["B"][:, None], given["C"][:, None]
    leaves = {name: t.clone().requires_grad_() for name, t in given.items()}
    plain = {**given, "z": None}
    out, x, *rest = selective_scan_cuda.fwd(*(given if gated else plain).values(), True)
    torch.testing.assert_close(out, selective_scan_fn(**plain, delta_softplus=True), **CLOSE)
    spread = {**leaves, "B": wide(leaves["B"]), "C": wide(leaves["C"])}
    gate = {} if gated else {"z": torch.full_like(given["z"], 50.0)}
    want, last = scan_formula(*{**spread, **gate}.values())
    want = want if gated else want / 50
    torch.testing.assert_close(x[:, :, -1, 1::2], last, **CLOSE)
    if gated:
        torch.testing.assert_close(rest[0], want, **CLOSE)
    dout = torch.randn_like(out)
    dz = torch.empty_like(out) if gated else None
    arguments = (given if gated else plain).values()
    got = selective_scan_cuda.bwd(*arguments, dout, x, out, dz, True, gated)
    names = ["u", "delta", "A", "B", "C", "D", "delta_bias", *(["z"] if gated else [])]
    wanted = torch.autograd.grad(want, [leaves[name] for name in names], dout)
    for gradient, expected in zip(got, wanted, strict=False):  # got may end with the output
        torch.testing.assert_close(gradient, expected, **CLOSE)
    assert len(got) == (9 if gated else 7)
    if gated:
        assert got[7] is dz
        torch.testing.assert_close(got[8], want, **CLOSE)


def conv_formula(x: Tensor, weight: Tensor, bias: Tensor, before: Tensor | None = None) -> Tensor:
    """The filter over the inputs before and x, through silu."""
    seen = F.pad(x, (WIDTH - 1, 0)) if before is None else torch.cat([before, x], 2)
    return F.silu(F.conv1d(seen, weight[:, None], bias, groups=DIM))


def conv_inputs() -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(BATCH, DIM, LENGTH), torch.randn(DIM, WIDTH), torch.randn(DIM)


def test_causal_conv1d_fn() -> None:
    x, weight, bias = conv_inputs()
    before, kept = torch.randn(2, BATCH, DIM, WIDTH - 1)
    out, final = causal_conv1d_fn(x, weight, bias, None, before, True, kept, "swish")
    torch.testing.assert_close(out, conv_formula(x, weight, bias, before), **CLOSE)
    assert final is kept and torch.equal(kept, x[..., -3:])
    plain = causal_conv1d_fn(x, weight, bias)
    torch.testing.assert_close(F.silu(plain), conv_formula(x, weight, bias), **CLOSE)
    with pytest.raises(ValueError, match="activation must be None, 'silu' or 'swish', got 'gelu'"):
        causal_conv1d_fn(x, weight, activation="gelu")


def test_causal_conv1d_fn_keeps_sequences_apart() -> None:
    x, weight, bias = conv_inputs()
    seq_idx = torch.tensor([[0] * 4 + [1] * 3 + [-1] * 2, [3] * 9], dtype=torch.int32)
    out = causal_conv1d_fn(x, weight, bias, seq_idx, activation="silu")
    torch.testing.assert_close(out[:1, :, :4], conv_formula(x[:1, :, :4], weight, bias), **CLOSE)
    torch.testing.assert_close(out[:1, :, 4:7], conv_formula(x[:1, :, 4:7], weight, bias), **CLOSE)
    assert not out[0, :, 7:].any()
    torch.testing.assert_close(out[1:], conv_formula(x[1:], weight, bias), **CLOSE)


@pytest.mark.parametrize("ring", [False, True])
@pytest.mark.parametrize("pieces", [[1] * 9, [2, 1, 5, 1], [9]], ids=str)
def test_causal_conv1d_update(ring: bool, pieces: list[int]) -> None:
    x, weight, bias = conv_inputs()
    state, seen, parts = torch.zeros(3, DIM, 5), torch.zeros(BATCH, dtype=torch.int32), []
    rows = torch.tensor([2, 0])
    state[1] = 7.0
    for piece in x.split(pieces, 2):
        given = piece[..., 0] if piece.shape[2] == 1 else piece
        out = causal_conv1d_update(
            given, state, weight, bias, "silu", seen if ring else None, conv_state_indices=rows
        )
        assert out.shape == given.shape
        parts.append(out.reshape(piece.shape))
        seen += piece.shape[2]
    torch.testing.assert_close(torch.cat(parts, 2), conv_formula(x, weight, bias), **CLOSE)
    assert torch.equal(state[1], torch.full((DIM, 5), 7.0))
    order = [5, 6, 7, 8, 4] if ring else [4, 5, 6, 7, 8]
    assert torch.equal(state[rows], x[..., order])


@pytest.mark.parametrize("ring", [False, True])
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_padding_has_no_row_of_the_convolution(ring: bool, dtype: torch.dtype) -> None:
    """A negative index is padding: its output is zero, and the last row is another sequence's."""
    x, weight, bias = conv_inputs()
    x = torch.cat([x, torch.full_like(x[:1], torch.nan)])
    rows = torch.tensor([1, 0, -1], dtype=dtype)
    state = torch.randn(3, DIM, WIDTH - 1)
    before, seen = state.clone(), torch.tensor([0, 0, -1]) if ring else None
    out = causal_conv1d_update(x, state, weight, bias, "silu", seen, rows)
    torch.testing.assert_close(out[:2], conv_formula(x[:2], weight, bias, before[:2].flip(0)))
    assert not out[2].any()
    assert torch.equal(state[2], before[2])
    assert torch.equal(state[:2].flip(0), x[:2, :, -3:])
    out = torch.empty_like(x)
    causal_conv1d_cuda.causal_conv1d_update(x, state, weight, bias, out, True, seen, rows)
    assert not out[2].any() and torch.equal(state[2], before[2])


def test_batch_of_padding_changes_no_row() -> None:
    x, weight, bias = conv_inputs()
    state = torch.randn(3, DIM, WIDTH - 1)
    before = state.clone()
    out = causal_conv1d_update(x, state, weight, bias, conv_state_indices=torch.tensor([-1, -7]))
    assert not out.any() and torch.equal(state, before)


def test_output_beside_padding_is_differentiable() -> None:
    x, weight, bias = conv_inputs()
    weight.requires_grad_()
    rows, state = torch.tensor([1, -1]), torch.zeros(2, DIM, WIDTH - 1)
    out = causal_conv1d_update(x, state, weight, bias, "silu", conv_state_indices=rows)
    (got,) = torch.autograd.grad(out.sum(), weight)
    (want,) = torch.autograd.grad(conv_formula(x[:1], weight, bias).sum(), weight)
    torch.testing.assert_close(got, want, **CLOSE)


@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        ([0, 1], TypeError, "conv_state_indices must be a Tensor of integers, got list"),
        (torch.tensor([True, False]), TypeError, "Tensor of integers, got torch.bool"),
        (torch.arange(3), ValueError, r"must have shape \(2,\) to match x, got \(3,\)"),
        (torch.tensor([0, 4]), ValueError, "must be below 4, the rows of the state, got 4"),
    ],
)
def test_conv_state_indices_refused(indices: Any, error: type[Exception], message: str) -> None:
    x, weight, _ = conv_inputs()
    with pytest.raises(error, match=message):
        causal_conv1d_update(x, torch.zeros(4, DIM, WIDTH - 1), weight, conv_state_indices=indices)


def test_conv_state_of_another_batch() -> None:
    x, weight, _ = conv_inputs()
    with pytest.raises(ValueError, match=r"conv_state must have shape \(2, 6\) .* got \(5, 6\)"):
        causal_conv1d_update(x, torch.zeros(5, DIM, WIDTH - 1), weight)


def test_conv_state_too_short() -> None:
    x, weight, _ = conv_inputs()
    with pytest.raises(ValueError, match="conv_state must keep at least 3 inputs, got 2"):
        causal_conv1d_update(x, torch.zeros(BATCH, DIM, 2), weight)


def test_cpp_functions() -> None:
    x, weight, bias = conv_inputs()
    before = torch.randn(BATCH, DIM, WIDTH - 1)
    kept = torch.empty_like(before)
    out = cpp_functions.causal_conv1d_fwd_function(x, weight, bias, None, before, kept, True)
    leaves = [t.clone().requires_grad_() for t in (x, weight, bias, before)]
    want = conv_formula(*leaves)
    torch.testing.assert_close(out, want, **CLOSE)
    assert torch.equal(kept, x[..., -3:])
    dout, dfinal, dx = torch.randn_like(out), torch.randn_like(kept), torch.empty_like(x)
    got = cpp_functions.causal_conv1d_bwd_function(
        x, weight, bias, dout, None, before, dfinal, dx, True, True
    )
    final = leaves[0][..., -3:]
    for gradient, wanted in zip(
        got, torch.autograd.grad([want, final], leaves, [dout, dfinal]), strict=True
    ):
        torch.testing.assert_close(gradient, wanted, **CLOSE)
    assert got[0] is dx
    *_, of_zero = cpp_functions.causal_conv1d_bwd_function(
        x, weight, bias, dout, None, None, None, None, True, True
    )
    leaf = torch.zeros_like(before).requires_grad_()
    (wanted,) = torch.autograd.grad(conv_formula(x, weight, bias, leaf), leaf, dout)
    torch.testing.assert_close(of_zero, wanted, **CLOSE)
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
    assert torch.equal(last, F.pad(x[2:].T, (1, 0))), "another sequence's values leak"


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


def step_formula(state: Tensor, given: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """One step of the scan with heads: new state (B, H, D, N), output (B, H, D)."""
    dt = F.softplus(given["dt"] + given["dt_bias"])[..., None]
    heads = state.shape[1]
    B, C = (given[n].repeat_interleave(heads // given[n].shape[1], 1)[:, :, None] for n in "BC")
    state = torch.exp(dt * given["A"]) * state + dt * B * given["x"][..., None]
    out = (state * C).sum(-1) + given["D"] * given["x"]
    return state, out * F.silu(given["z"])


@pytest.mark.parametrize("layout", ["contiguous", "strided"])
@pytest.mark.parametrize("indexed", [False, True])
def test_selective_state_update_with_heads(layout: str, indexed: bool) -> None:
    heads, dim = 4, 3
    given = {
        **{name: torch.randn(BATCH, heads, dim) for name in ("x", "dt", "z")},
        **{name: torch.randn(BATCH, 2, STATES) for name in "BC"},
        **{name: torch.randn(heads, dim) for name in ("D", "dt_bias")},
        "A": -torch.rand(heads, dim, STATES),
    }
    state = torch.randn(5, heads, dim, STATES)
    state = state if layout == "contiguous" else state.transpose(1, 2).contiguous().transpose(1, 2)
    before = state.clone()
    if indexed:
        rows, more = torch.tensor([3, -1]), {"state_batch_indices": torch.tensor([3, -1])}
        out = selective_state_update(state, **given, dt_softplus=True, **more)
        want, want_out = step_formula(before[rows.clamp(min=0)], given)
        torch.testing.assert_close(state[3], want[0], **CLOSE)
        torch.testing.assert_close(out[0], want_out[0], **CLOSE)
        assert not out[1].any()
        assert torch.equal(state[[0, 1, 2, 4]], before[[0, 1, 2, 4]])
        return
    state, before = state[:BATCH], before[:BATCH]
    out = selective_state_update(state, **given, dt_softplus=True)
    want, want_out = step_formula(before, given)
    torch.testing.assert_close(state, want, **CLOSE)
    torch.testing.assert_close(out, want_out, **CLOSE)


@pytest.mark.parametrize("names", ["", "x", "dt", "z", "A", "D", "dt_bias", "B", "C", "x B C z A"])
@pytest.mark.parametrize("with_heads", [False, True])
@pytest.mark.parametrize("indexed", [False, True])
def test_one_head_may_be_left_out(names: str, with_heads: bool, indexed: bool) -> None:
    """Of a single head each argument has the dimension of heads or lacks it."""
    full = {
        **{name: torch.randn(BATCH, 1, DIM) for name in ("x", "dt", "z")},
        **{name: torch.randn(BATCH, 1, STATES) for name in "BC"},
        **{name: torch.randn(1, DIM) for name in ("D", "dt_bias")},
        "A": -torch.rand(1, DIM, STATES),
    }
    axis = {"A": 0, "D": 0, "dt_bias": 0}
    given = {
        name: t.squeeze(axis.get(name, 1)) if name in names.split() else t
        for name, t in full.items()
    }
    before = torch.randn(BATCH, 1, DIM, STATES)
    want, want_out = step_formula(before, full)
    state = before.clone() if with_heads else before[:, 0].clone()
    more = {"state_batch_indices": torch.arange(BATCH)} if indexed else {}
    out = selective_state_update(state, **given, dt_softplus=True, **more)
    torch.testing.assert_close(state, want if with_heads else want[:, 0], **CLOSE)
    torch.testing.assert_close(out, want_out if with_heads else want_out[:, 0], **CLOSE)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"state": [0]}, TypeError, "state must be a Tensor, got list"),
        ({"x": [0]}, TypeError, "x must be a Tensor, got list"),
        ({"dt": [0]}, TypeError, "dt must be a Tensor, got list"),
        ({"C": [0]}, TypeError, "C must be a Tensor, got list"),
        ({"state": torch.ones(2, 4)}, ValueError, "state must have shape"),
        ({"x": torch.ones(2)}, ValueError, r"x must have shape \(batch, dim\) or"),
        ({"x": torch.ones(2, 3, 4)}, ValueError, r"x must have shape \(2, 4, 3\)"),
        ({"z": torch.ones(2, 12)}, ValueError, r"z must have shape \(2, 4, 3\)"),
        ({"A": torch.ones(3, 4, 5)}, ValueError, r"A must have shape \(4, 3, 5\)"),
        ({"D": torch.ones(12)}, ValueError, r"D must have shape \(4, 3\)"),
        ({"B": torch.ones(2, 3, 5)}, ValueError, "B must have groups that divide 4 heads, got 3"),
        ({"C": torch.ones(2, 12, 5)}, ValueError, "C must have groups that divide 4 heads, got 12"),
        ({"C": torch.ones(2, 2, 5)}, ValueError, "C must have shape"),
        ({"state_batch_indices": [0, 1]}, TypeError, "Tensor of integers, got list"),
        ({"state_batch_indices": torch.ones(2)}, TypeError, "Tensor of integers, got torch.float"),
        ({"state_batch_indices": torch.tensor([True, False])}, TypeError, "got torch.bool"),
        ({"state_batch_indices": torch.arange(3)}, ValueError, r"must have shape \(2,\)"),
        ({"state_batch_indices": torch.tensor([1, 2])}, ValueError, "must be below 2, .* got 2"),
    ],
)
def test_selective_state_update_refuses(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    heads = torch.ones(2, 4, 3)
    given: dict[str, Any] = {
        "state": torch.ones(2, 4, 3, 5), "x": heads, "dt": heads, "A": -torch.ones(4, 3, 5),
        "B": torch.ones(2, 1, 5), "C": torch.ones(2, 1, 5),
    }  # fmt: skip
    with pytest.raises(error, match=message):
        selective_state_update(**{**given, **changes})


def host_norm(
    x, weight, bias, residual=None, x1=None, weight1=None, bias1=None, eps=1e-6, dropout_p=0.0,
    rowscale=None, prenorm=False, residual_in_fp32=False, is_rms_norm=False,
    return_dropout_mask=False,
):  # fmt: skip
    """As mamba_ssm's layer_norm_fn, by its arguments."""
    raise AssertionError("the host's own was called")


@pytest.mark.parametrize("rms", [False, True])
def test_norms_off_cuda(rms: bool) -> None:
    norm = off_cuda(host_norm)
    x, weight, bias, residual = torch.randn(2, 8).bfloat16(), *torch.randn(3, 8)
    scale = torch.rand(2)
    total = x.float() * scale[:, None] + residual
    want = F.rms_norm(total, (8,), weight, 1e-6) + bias
    want = want if rms else F.layer_norm(total, (8,), weight, bias, 1e-6)
    out, kept = norm(x, weight, bias, residual, rowscale=scale, prenorm=True, is_rms_norm=rms)
    assert (out.dtype, kept.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(out, want.bfloat16())
    torch.testing.assert_close(kept, total)
    first = norm(x, weight, None, prenorm=True, residual_in_fp32=True, is_rms_norm=rms)[1]
    assert first.dtype == torch.float32
    assert norm(x, weight, None, is_rms_norm=rms).shape == x.shape
    with pytest.raises(AssertionError, match="the host's own"):
        norm(x, weight, None, x1=x)


def test_torch_without_cuda_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    ours = with_events(torch)
    assert isinstance(ours.cuda.Event(enable_timing=False), IdleEvent)
    assert ours.cat is torch.cat and ours.cuda.is_available is torch.cuda.is_available
    with pytest.raises(RuntimeError, match="enable_timing=True needs"):
        ours.cuda.Event(enable_timing=True)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    assert with_events(torch) is torch
