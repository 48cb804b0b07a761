"""The functions of causal_conv1d against their published formula, with padding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from evenfall_mamba.ssm.convolution import causal_conv1d_fn, causal_conv1d_update
from evenfall_mamba.standins import causal_conv1d_cuda

from ..formulas import BATCH, CLOSE, DIM, WIDTH, conv_formula, conv_inputs


def test_causal_conv1d_fn() -> None:
    x, weight, bias = conv_inputs()
    before, final_out = torch.randn(2, BATCH, DIM, WIDTH - 1)
    out, final = causal_conv1d_fn(x, weight, bias, None, before, True, final_out, "swish")
    torch.testing.assert_close(out, conv_formula(x, weight, bias, before), **CLOSE)
    assert final is final_out
    assert torch.equal(final_out, x[..., -3:])
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
    state, count, parts = torch.zeros(3, DIM, 5), torch.zeros(BATCH, dtype=torch.int32), []
    rows = torch.tensor([2, 0])
    state[1] = 7.0
    for piece in x.split(pieces, 2):
        step = piece[..., 0] if piece.shape[2] == 1 else piece
        out = causal_conv1d_update(
            step, state, weight, bias, "silu", count if ring else None, conv_state_indices=rows
        )
        assert out.shape == step.shape
        parts.append(out.reshape(piece.shape))
        count += piece.shape[2]
    torch.testing.assert_close(torch.cat(parts, 2), conv_formula(x, weight, bias), **CLOSE)
    assert torch.equal(state[1], torch.full((DIM, 5), 7.0))
    order = [5, 6, 7, 8, 4] if ring else [4, 5, 6, 7, 8]
    assert torch.equal(state[rows], x[..., order])


@pytest.mark.parametrize("ring", [False, True])
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_padding_has_no_row_of_the_convolution(ring: bool, dtype: torch.dtype) -> None:
    """Padding, a negative index, has output zero and leaves the last row to its own sequence."""
    x, weight, bias = conv_inputs()
    x = torch.cat([x, torch.full_like(x[:1], torch.nan)])
    rows = torch.tensor([1, 0, -1], dtype=dtype)
    state = torch.randn(3, DIM, WIDTH - 1)
    before, count = state.clone(), torch.tensor([0, 0, -1]) if ring else None
    out = causal_conv1d_update(x, state, weight, bias, "silu", count, rows)
    torch.testing.assert_close(out[:2], conv_formula(x[:2], weight, bias, before[:2].flip(0)))
    assert not out[2].any()
    assert torch.equal(state[2], before[2])
    assert torch.equal(state[:2].flip(0), x[:2, :, -3:])
    out = torch.empty_like(x)
    causal_conv1d_cuda.causal_conv1d_update(x, state, weight, bias, out, True, count, rows)
    assert not out[2].any()
    assert torch.equal(state[2], before[2])


def test_batch_of_padding_changes_no_row() -> None:
    x, weight, bias = conv_inputs()
    state = torch.randn(3, DIM, WIDTH - 1)
    before = state.clone()
    out = causal_conv1d_update(x, state, weight, bias, conv_state_indices=torch.tensor([-1, -7]))
    assert not out.any()
    assert torch.equal(state, before)


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
        (torch.tensor([0, 4]), ValueError, "must be below 4, the number of state rows, got 4"),
    ],
)
def test_conv_state_indices_refused(indices: Any, error: type[Exception], message: str) -> None:
    x, weight, _ = conv_inputs()
    with pytest.raises(error, match=message):
        causal_conv1d_update(x, torch.zeros(4, DIM, WIDTH - 1), weight, conv_state_indices=indices)


def test_conv_state_of_another_batch() -> None:
    x, weight, _ = conv_inputs()
    with pytest.raises(
        ValueError,
        match=r"conv_state must have shape \(2, 6, 3 or more\) to match x, got \(5, 6, 3\)",
    ):
        causal_conv1d_update(x, torch.zeros(5, DIM, WIDTH - 1), weight)


def test_conv_state_too_short() -> None:
    x, weight, _ = conv_inputs()
    with pytest.raises(
        ValueError, match="conv_state must have room for 3 inputs, the filter width less 1, got 2"
    ):
        causal_conv1d_update(x, torch.zeros(BATCH, DIM, 2), weight)
