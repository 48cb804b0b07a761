"""mamba_ssm's selective_state_update: heads, row indices and errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from evenfall_mamba.ssm.step import selective_state_update

from ..formulas import BATCH, CLOSE, DIM, STATES, step_formula


@pytest.mark.parametrize("layout", ["contiguous", "strided"])
@pytest.mark.parametrize("indexed", [False, True])
def test_selective_state_update_with_heads(layout: str, indexed: bool) -> None:
    heads, dim = 4, 3
    arguments = {
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
        out = selective_state_update(state, **arguments, dt_softplus=True, **more)
        want, want_out = step_formula(before[rows.clamp(min=0)], arguments)
        torch.testing.assert_close(state[3], want[0], **CLOSE)
        torch.testing.assert_close(out[0], want_out[0], **CLOSE)
        assert not out[1].any()
        assert torch.equal(state[[0, 1, 2, 4]], before[[0, 1, 2, 4]])
        return
    state, before = state[:BATCH], before[:BATCH]
    out = selective_state_update(state, **arguments, dt_softplus=True)
    want, want_out = step_formula(before, arguments)
    torch.testing.assert_close(state, want, **CLOSE)
    torch.testing.assert_close(out, want_out, **CLOSE)


@pytest.mark.parametrize("names", ["", "x", "dt", "z", "A", "D", "dt_bias", "B", "C", "x B C z A"])
@pytest.mark.parametrize("with_heads", [False, True])
@pytest.mark.parametrize("indexed", [False, True])
def test_one_head_may_be_left_out(names: str, with_heads: bool, indexed: bool) -> None:
    """With a single head, each argument may omit the dimension of heads."""
    full = {
        **{name: torch.randn(BATCH, 1, DIM) for name in ("x", "dt", "z")},
        **{name: torch.randn(BATCH, 1, STATES) for name in "BC"},
        **{name: torch.randn(1, DIM) for name in ("D", "dt_bias")},
        "A": -torch.rand(1, DIM, STATES),
    }
    axis = {"A": 0, "D": 0, "dt_bias": 0}
    arguments = {
        name: t.squeeze(axis.get(name, 1)) if name in names.split() else t
        for name, t in full.items()
    }
    before = torch.randn(BATCH, 1, DIM, STATES)
    want, want_out = step_formula(before, full)
    state = before.clone() if with_heads else before[:, 0].clone()
    more = {"state_batch_indices": torch.arange(BATCH)} if indexed else {}
    out = selective_state_update(state, **arguments, dt_softplus=True, **more)
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
        ({"B": torch.ones(2, 3, 5)}, ValueError, "the groups of B must divide the 4 heads, got 3"),
        (
            {"C": torch.ones(2, 12, 5)},
            ValueError,
            "the groups of C must divide the 4 heads, got 12",
        ),
        ({"C": torch.ones(2, 2, 5)}, ValueError, "C must have shape"),
        ({"state_batch_indices": [0, 1]}, TypeError, "Tensor of integers, got list"),
        ({"state_batch_indices": torch.ones(2)}, TypeError, "Tensor of integers, got torch.float"),
        ({"state_batch_indices": torch.tensor([True, False])}, TypeError, "got torch.bool"),
        ({"state_batch_indices": torch.arange(3)}, ValueError, r"must have shape \(2,\)"),
        (
            {"state_batch_indices": torch.tensor([1, 2])},
            ValueError,
            "must be below 2, the number of state rows, got 2",
        ),
    ],
)
def test_selective_state_update_refuses(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    heads = torch.ones(2, 4, 3)
    arguments: dict[str, Any] = {
        "state": torch.ones(2, 4, 3, 5), "x": heads, "dt": heads, "A": -torch.ones(4, 3, 5),
        "B": torch.ones(2, 1, 5), "C": torch.ones(2, 1, 5),
    }  # fmt: skip
    with pytest.raises(error, match=message):
        selective_state_update(**{**arguments, **changes})
