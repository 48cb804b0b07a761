"""ssd_state_update: every backend against one step of ssd_scan in float64; gradients, errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from evenfall import use_backend
from evenfall_kernels import ssd_scan, ssd_state_update
from evenfall_kernels.ops.ssd_state_update.op import ssd_state_update_op

OPTIONAL = ("D", "z", "dt_bias")
TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 1e-2, torch.float16: 2e-3, torch.float64: 1e-12}


def make(
    batch: int = 3, heads: int = 4, channels: int = 6, states: int = 16, groups: int = 2,
    dtype: Any = torch.float64, wide_skip: bool = False,
) -> dict[str, Tensor]:  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "state": (batch, heads, channels, states), "x": (batch, heads, channels),
        "dt": (batch, heads), "A": (heads,), "B": (batch, groups, states),
        "C": (batch, groups, states), "D": (heads, channels) if wide_skip else (heads,),
        "z": (batch, heads, channels), "dt_bias": (heads,),
    }  # fmt: skip
    inputs = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    inputs["A"] = -inputs["A"].abs()
    return {name: tensor.to(dtype) for name, tensor in inputs.items()}


def expected(inputs: dict[str, Tensor], **options: Any) -> tuple[Tensor, Tensor]:
    """State and output of ssd_scan for a sequence of one step, in float64."""
    p = {name: tensor.detach().double() for name, tensor in inputs.items()}
    initial = p.pop("state")
    steps = {k: v[:, None] if k in ("x", "dt", "B", "C", "z") else v for k, v in p.items()}
    out, state = ssd_scan(**steps, initial_state=initial, return_last_state=True, **options)
    return state, out[:, 0]


def assert_near(got: Tensor, want: Tensor, dtype: torch.dtype) -> None:
    tolerance = TOLERANCE[dtype] * max(1.0, float(want.abs().max())) if want.numel() else 1
    torch.testing.assert_close(got.double(), want, rtol=0, atol=tolerance)


@pytest.fixture(params=["cpu", "reference"])
def backend(request: pytest.FixtureRequest) -> Any:
    with use_backend(request.param, "ssd_state_update"):
        yield request.param


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("missing", [(), ("D",), ("z",), OPTIONAL])
@pytest.mark.parametrize("options", [{"dt_softplus": True}, {"dt_limit": (0.1, 0.4)}])
def test_equals_float64(backend: str, dtype: Any, missing: Any, options: dict[str, Any]) -> None:
    inputs = {name: t for name, t in make(dtype=dtype).items() if name not in missing}
    inputs["state"] = inputs["state"].float()
    state, out = expected(inputs, **options)
    got = ssd_state_update(**inputs, **options)
    assert got.dtype == dtype
    assert_near(got, out, dtype)
    assert_near(inputs["state"], state, torch.float32)


@pytest.mark.parametrize(
    "sizes", [(1, 1, 1, 1, 1), (2, 6, 3, 5, 3), (1, 8, 64, 128, 1), (0, 3, 4, 16, 1)]
)
def test_sizes_and_groups(backend: str, sizes: Any) -> None:
    inputs = make(*sizes, dtype=torch.float32, wide_skip=True)
    state, out = expected(inputs, dt_softplus=True)
    got = ssd_state_update(**inputs, dt_softplus=True)
    assert got.shape == out.shape
    assert_near(got, out, torch.float32)
    assert_near(inputs["state"], state, torch.float32)


def test_float64_is_exact() -> None:
    inputs = make()
    state, out = expected(inputs)
    assert_near(ssd_state_update(**inputs), out, torch.float64)
    assert_near(inputs["state"], state, torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_view_is_updated_in_place(backend: str, dtype: torch.dtype) -> None:
    inputs = make(dtype=torch.float32)
    pair = torch.full((3, 2, 4, 6, 16), 7.0, dtype=dtype)
    pair[:, 1] = inputs["state"].to(dtype)
    inputs["state"] = pair[:, 1]
    state, out = expected(inputs)
    assert_near(ssd_state_update(**inputs), out, torch.float32)
    assert_near(pair[:, 1], state, dtype)
    assert (pair[:, 0] == 7).all()


def test_gradients_are_those_of_the_scan(backend: str) -> None:
    inputs = make(dtype=torch.float32)
    twins = {name: tensor.clone().requires_grad_() for name, tensor in inputs.items()}
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in inputs.items()}
    cell = leaves["state"] * 1  # a leaf cannot be changed in place
    out = ssd_state_update(**{**leaves, "state": cell}, dt_softplus=True)
    (out.sum() + cell.square().sum()).backward()
    initial = twins.pop("state")
    steps = {k: v[:, None] if k in ("x", "dt", "B", "C", "z") else v for k, v in twins.items()}
    y, last = ssd_scan(**steps, initial_state=initial, return_last_state=True, dt_softplus=True)
    (y.sum() + last.square().sum()).backward()
    for name, twin in {**twins, "state": initial}.items():
        torch.testing.assert_close(leaves[name].grad, twin.grad, rtol=1e-4, atol=1e-4)


def test_opcheck_and_compile() -> None:
    inputs = make(dtype=torch.float32)
    D = inputs["D"][:, None].expand(4, 6)
    dt = inputs["dt"].abs()
    arguments = (inputs["state"], inputs["x"], dt, -dt, inputs["B"], inputs["C"], D, inputs["z"])
    torch.library.opcheck(ssd_state_update_op, (*arguments, "cpu"))
    torch._dynamo.reset()
    state, out = expected(inputs)
    compiled = torch.compile(ssd_state_update, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        assert_near(compiled(**inputs), out, torch.float32)
    assert_near(inputs["state"], state, torch.float32)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("state", (3, 4, 6, 15)), ("x", (3, 4)), ("dt", (3, 4, 6)), ("dt", (3, 5)), ("A", (4, 6)),
        ("B", (3, 16)), ("C", (2, 2, 16)), ("D", (6,)), ("z", (3, 4, 5)), ("dt_bias", (3,)),
    ],
)  # fmt: skip
def test_wrong_shapes_name_the_argument(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must have shape"):
        ssd_state_update(**{**make(dtype=torch.float32), name: torch.zeros(shape)})


def test_wrong_types_name_the_argument() -> None:
    with pytest.raises(TypeError, match=r"^state must be a Tensor, got NoneType"):
        ssd_state_update(**{**make(), "state": None})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^state must be real floating point, got torch\.int64"):
        ssd_state_update(**{**make(), "state": torch.zeros(3, 4, 6, 16, dtype=torch.int64)})
