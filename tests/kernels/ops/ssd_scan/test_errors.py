"""Wrong arguments of ssd_scan: each error names the argument."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from evenfall_kernels import ssd_scan

from .cases import case


def _inputs(**sizes: Any) -> dict[str, Any]:
    return case(**{"batch": 2, "length": 7, "channels": 5, **sizes})(torch.float32, "cpu")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("x", (2, 7, 5)), ("x", (2, 7, 0, 5)), ("dt", (2, 6, 2)), ("A", (2, 1)), ("B", (2, 7, 4)),
        ("C", (2, 6, 1, 4)), ("D", (3,)), ("D", (2, 4)), ("z", (2, 7, 2, 4)), ("dt_bias", (1,)),
        ("initial_state", (1, 2, 5, 4)),
    ],
)  # fmt: skip
def test_shapes(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must have shape"):
        ssd_scan(**{**_inputs(), name: torch.zeros(shape)})


def test_groups_and_states() -> None:
    p = _inputs(heads=6, groups=3)
    with pytest.raises(ValueError, match="same shape"):
        ssd_scan(**{**p, "B": p["B"][:, :, :2]})
    with pytest.raises(ValueError, match="must divide the 5 heads, got 3"):
        ssd_scan(**_inputs(heads=5, groups=3))
    with pytest.raises(ValueError, match="at least one state"):
        ssd_scan(**_inputs(states=0))


@pytest.mark.parametrize("limit", [(0.5, 0.1), (0.1,), None, 3, (0, float("nan"))])
def test_limits(limit: Any) -> None:
    with pytest.raises(ValueError, match=r"^dt_limit must be"):
        ssd_scan(**_inputs(), dt_limit=limit)


def test_types_and_devices() -> None:
    p = _inputs()
    with pytest.raises(TypeError, match=r"^x must be a Tensor, got list"):
        ssd_scan(**{**p, "x": [1.0]})
    with pytest.raises(TypeError, match=r"^A must be real floating point, got torch.int64"):
        ssd_scan(**{**p, "A": torch.ones(2, dtype=torch.int64)})
    with pytest.raises(ValueError, match=r"^B is on meta, but x is on cpu"):
        ssd_scan(**{**p, "B": p["B"].to("meta")})


def test_cu_seqlens() -> None:
    p = _inputs()
    del p["initial_state"]
    with pytest.raises(ValueError, match=r"x of shape \(1, rows, heads, channels\)"):
        ssd_scan(**p, cu_seqlens=torch.tensor([0, 7]))
    p = {name: v[:1] if name in ("x", "dt", "B", "C") else v for name, v in p.items()}
    for ends in ([0, 6], [1, 7], [0, 5, 3, 7]):
        with pytest.raises(ValueError, match="must start at 0, not decrease"):
            ssd_scan(**p, cu_seqlens=torch.tensor(ends))
    with pytest.raises(TypeError, match=r"^cu_seqlens must be an int32 or int64"):
        ssd_scan(**p, cu_seqlens=torch.tensor([0.0, 7.0]))
