"""Wrong arguments of causal_conv1d: each error names the argument."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from evenfall_kernels import causal_conv1d

X, WEIGHT = torch.ones(1, 3, 8), torch.ones(3, 4)


def ends(*values: int) -> dict[str, torch.Tensor]:
    return {"cu_seqlens": torch.tensor(values)}


@pytest.mark.parametrize(
    ("x", "weight", "options", "message"),
    [
        ([1.0], WEIGHT, {}, "x must be a Tensor, got list"),
        (X.int(), WEIGHT, {}, "x must be floating point, got torch.int32"),
        (X, WEIGHT.long(), {}, "weight must be floating point"),
        (X, WEIGHT, {"bias": 1.0}, "bias must be a Tensor, got float"),
        (X, WEIGHT, {"initial_state": torch.ones(1, 3, 3).bool()}, "initial_state must be float"),
        (X, WEIGHT, {"cu_seqlens": [0, 8]}, "cu_seqlens must be an int32 or int64 Tensor, got li"),
        (X, WEIGHT, {"cu_seqlens": torch.ones(2)}, "got torch.float32"),
    ],
)
def test_types(x: Any, weight: Any, options: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        causal_conv1d(x, weight, **options)


@pytest.mark.parametrize(
    ("x", "weight", "options", "message"),
    [
        (X[0], WEIGHT, {}, r"x must have shape \(batch, dim, length\), got \(3, 8\)"),
        (X, torch.ones(4, 4), {}, r"weight must have shape \(3, W >= 1\), got \(4, 4\)"),
        (X, torch.ones(3, 0), {}, r"got \(3, 0\)"),
        (X, torch.ones(3, 1, 4), {}, r"got \(3, 1, 4\)"),
        (X, WEIGHT.to("meta"), {}, "weight is on meta, but x is on cpu"),
        (X, WEIGHT, {"bias": torch.ones(4)}, r"bias must have shape \(3,\), got \(4,\)"),
        (X, WEIGHT, {"activation": "gelu"}, "activation must be 'silu' or None, got 'gelu'"),
        (X, WEIGHT, {"initial_state": torch.ones(1, 3, 4)}, r"must have shape \(1, 3, 3\)"),
        (X, WEIGHT, {"initial_state": torch.ones(1, 3, 3), **ends(0, 4, 8)}, r"shape \(2, 3, 3\)"),
        (X.expand(2, 3, 8), WEIGHT, ends(0, 8), r"needs x of shape \(1, channels, length\), got"),
        (
            X,
            WEIGHT,
            {"cu_seqlens": torch.zeros(0, dtype=int)},
            "cu_seqlens must be 1-D and not empty",
        ),
        (X, WEIGHT, ends(1, 8), r"start at 0.*got \[1, 8\]"),
        (X, WEIGHT, ends(0, 7), r"end at the length 8, got \[0, 7\]"),
        (X, WEIGHT, ends(0, 5, 4, 8), "not decrease"),
        (X, WEIGHT, {"initial_state": torch.ones(1, 3, 3), **ends(0, 5, 4, 8)}, "not decrease"),
        (X, WEIGHT, ends(*range(21)), r"got \[0, 1, 2\] \.\.\. \[18, 19, 20\]$"),
        (X, WEIGHT, {"cu_seqlens": torch.zeros(2, dtype=int, device="meta")}, "cu_seqlens is on m"),
    ],
)
def test_values(x: Any, weight: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        causal_conv1d(x, weight, **options)
