"""Wrong arguments of egru_scan: each error names the argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from evenfall_kernels import egru_scan

Make = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("x", (3, 7)),
        ("kernel", (4, 51)),
        ("recurrent_kernel", (17, 50)),
        ("bias", (17,)),
        ("recurrent_bias", (52,)),
        ("threshold", (17, 1)),
    ],
)
def test_shapes(make_inputs: Make, name: str, shape: tuple[int, ...]) -> None:
    p = make_inputs(torch.float32)
    p[name] = torch.zeros(shape)
    with pytest.raises(ValueError, match=rf"^{name} must have shape"):
        egru_scan(**p)


@pytest.mark.parametrize("name", ["x", "kernel", "recurrent_kernel", "bias", "threshold"])
def test_integers(make_inputs: Make, name: str) -> None:
    p = make_inputs(torch.float32)
    p[name] = torch.zeros(p[name].shape, dtype=torch.long)
    with pytest.raises(TypeError, match=rf"^{name} must be floating point, got torch\.int64"):
        egru_scan(**p)


@pytest.mark.parametrize(
    "name",
    ["x", "kernel", "recurrent_kernel", "bias", "recurrent_bias", "threshold", "dropconnect_mask",
     "cu_seqlens"],
)  # fmt: skip
def test_not_a_tensor(make_inputs: Make, name: str) -> None:
    with pytest.raises(TypeError, match=f"^{name} must be a Tensor, got list"):
        egru_scan(**{**make_inputs(torch.float32, batch=1), name: [0, 7]})


def test_an_initial_state_of_lists(make_inputs: Make) -> None:
    with pytest.raises(TypeError, match=r"^initial_state's y must be a Tensor, got list"):
        egru_scan(**{**make_inputs(torch.float32), "initial_state": ([0.0], [0.0])})


def test_devices(make_inputs: Make) -> None:
    p = make_inputs(torch.float32)
    p["kernel"] = p["kernel"].to("meta")
    with pytest.raises(ValueError, match="kernel is on meta, but x is on cpu"):
        egru_scan(**p)


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        ([1, 7], "must start at 0"),
        ([0, 6], "end at 7"),
        ([0, 5, 3, 7], "not decrease"),
        ([*range(21)], r"got \[0, 1, 2\] \.\.\. \[18, 19, 20\]$"),
        ([[0, 7]], "1-D integer"),
        ([0.0, 7.0], "1-D integer"),
    ],
)
def test_cu_seqlens(make_inputs: Make, ends: Any, message: str) -> None:
    p = make_inputs(torch.float32, batch=1)
    with pytest.raises(ValueError, match=message):
        egru_scan(**p, cu_seqlens=torch.tensor(ends))


def test_cu_seqlens_needs_a_batch_of_one(make_inputs: Make) -> None:
    with pytest.raises(ValueError, match="cu_seqlens needs x of shape"):
        egru_scan(**make_inputs(torch.float32, batch=2), cu_seqlens=torch.tensor([0, 7]))


def test_initial_state(make_inputs: Make) -> None:
    p = make_inputs(torch.float32)
    p["initial_state"] = p["initial_state"][0]
    with pytest.raises(TypeError, match=r"pair \(y, h\)"):
        egru_scan(**p)
    p["initial_state"] = (torch.zeros(3, 17), torch.zeros(2, 17))
    with pytest.raises(ValueError, match="initial_state's h must have shape"):
        egru_scan(**p)


@pytest.mark.parametrize(
    ("option", "value"),
    [("zoneout", 1.0), ("zoneout", -0.1), ("variant", "new"), ("support", float("inf")),
     ("dampening", -1.0)],
)  # fmt: skip
def test_options(make_inputs: Make, option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{option} must"):
        egru_scan(**make_inputs(torch.float32), **{option: value})


def test_dropconnect_mask(make_inputs: Make) -> None:
    with pytest.raises(ValueError, match=r"^dropconnect_mask must have shape"):
        egru_scan(**make_inputs(torch.float32), dropconnect_mask=torch.ones(17, 17))
