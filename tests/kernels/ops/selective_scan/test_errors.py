"""Wrong arguments of selective_scan: each error names the argument."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from evenfall_kernels import selective_scan

from .cases import case


def _inputs(**sizes: Any) -> dict[str, Any]:
    return case(**{"batch": 2, "length": 7, "step": True, **sizes})(torch.float32, "cpu")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("u", (5, 7)), ("delta", (2, 5, 6)), ("A", (4, 5)), ("A", (5, 0)),
        ("B", (2, 5, 7)), ("C", (2, 1, 4, 8)), ("B", (4, 5)), ("D", (4,)), ("z", (2, 5, 8)),
        ("delta_bias", (5, 1)), ("step", (2, 4, 7)), ("step_scale", (7,)),
        ("initial_state", (1, 5, 4)),
    ],
)  # fmt: skip
def test_shapes(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must have shape"):
        selective_scan(**{**_inputs(), name: torch.zeros(shape)})


def test_groups() -> None:
    p = _inputs(channels=6, groups=3)
    with pytest.raises(ValueError, match="same number of groups, got 2 and 3"):
        selective_scan(**{**p, "B": p["B"][:, :2]})
    p = _inputs(channels=5, groups=3)
    with pytest.raises(ValueError, match="must divide the 5 channels, got 3"):
        selective_scan(**p)


@pytest.mark.parametrize("name", ["u", "A", "B", "D", "z", "step", "initial_state"])
@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64])
def test_dtypes(name: str, dtype: torch.dtype) -> None:
    p = _inputs()
    p[name] = p[name].to(dtype)
    with pytest.raises(TypeError, match=rf"^{name} must be real floating point, got {dtype}"):
        selective_scan(**p)


@pytest.mark.parametrize("name", ["delta", "C", "step_scale", "initial_state"])
def test_devices(name: str) -> None:
    p = _inputs()
    p[name] = p[name].to("meta")
    with pytest.raises(ValueError, match=f"^{name} is on meta, but u is on cpu"):
        selective_scan(**p)


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_steps(value: float) -> None:
    p = _inputs()
    p["step"][1, 3] = value
    with pytest.raises(ValueError, match=r"^step must be finite and not negative"):
        selective_scan(**p)


def test_options() -> None:
    p = _inputs()
    with pytest.raises(ValueError, match=r"^discretization must be one of .*, got 'euler'"):
        selective_scan(**p, discretization="euler")
    del p["step"]
    with pytest.raises(ValueError, match=r"^step_scale needs step"):
        selective_scan(**p)
    del p["step_scale"]
    with pytest.raises(ValueError, match="'async' needs step"):
        selective_scan(**p, discretization="async")


@pytest.mark.parametrize(
    ("ends", "error", "message"),
    [
        ([1, 7], ValueError, "must start at 0"),
        ([0, 6], ValueError, "end at the length 7, got"),
        ([0, 5, 3, 7], ValueError, "not decrease"),
        ([[0, 7]], ValueError, r"must be 1-D and not empty, got shape \(1, 2\)"),
        ([0.0, 7.0], TypeError, "must be an int32 or int64 Tensor, got torch.float32"),
        ([False, True], TypeError, "must be an int32 or int64 Tensor, got torch.bool"),
        ([0, 7j], TypeError, "must be an int32 or int64 Tensor, got torch.complex64"),
    ],
)
def test_cu_seqlens(ends: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=rf"^cu_seqlens .*{message}"):
        selective_scan(**_inputs(batch=1), cu_seqlens=torch.tensor(ends))


@pytest.mark.parametrize("name", ["u", "delta", "A", "C", "D", "step", "cu_seqlens"])
def test_not_a_tensor(name: str) -> None:
    with pytest.raises(TypeError, match=rf"^{name} must be a.* Tensor, got list"):
        selective_scan(**{**_inputs(batch=1), name: [0, 7]})


def test_none_for_a_required_tensor() -> None:
    with pytest.raises(TypeError, match=r"^delta must be a Tensor, got NoneType"):
        selective_scan(**{**_inputs(), "delta": None})


def test_cu_seqlens_needs_a_batch_of_one_on_one_device() -> None:
    with pytest.raises(ValueError, match="cu_seqlens needs u of shape"):
        selective_scan(**_inputs(), cu_seqlens=torch.tensor([0, 7]))
    with pytest.raises(ValueError, match="cu_seqlens is on meta"):
        selective_scan(**_inputs(batch=1), cu_seqlens=torch.tensor([0, 7]).to("meta"))


def test_packed_state_has_one_row_per_sequence() -> None:
    with pytest.raises(ValueError, match=r"^initial_state must have shape .*\(2, 5, 4\)"):
        selective_scan(**_inputs(batch=1), cu_seqlens=torch.tensor([0, 3, 7]))
