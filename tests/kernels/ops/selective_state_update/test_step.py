"""selective_state_update: every backend against float64; state, gradients and errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from evenfall import use_backend
from evenfall_kernels import selective_state_update
from evenfall_kernels.ops.selective_state_update.op import selective_state_update_op

OPTIONAL = ("D", "z", "dt_bias")
TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 1e-2, torch.float16: 2e-3, torch.float64: 1e-12}


def make(
    batch: int = 3, dim: int = 6, n: int = 16, groups: int | None = None, dtype: Any = torch.float64
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    projections = (batch, n) if groups is None else (batch, groups, n)
    shapes = {
        "state": (batch, dim, n), "x": (batch, dim), "dt": (batch, dim), "A": (dim, n),
        "B": projections, "C": projections, "D": (dim,), "z": (batch, dim), "dt_bias": (dim,),
    }  # fmt: skip
    inputs = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    inputs["A"] = -inputs["A"].abs()
    return {name: tensor.to(dtype) for name, tensor in inputs.items()}


def expected(inputs: dict[str, Tensor], softplus: bool) -> tuple[Tensor, Tensor]:
    """The equation of the docstring, channel by channel, in float64."""
    p = {name: tensor.double() for name, tensor in inputs.items()}
    state, out = p["state"].clone(), torch.zeros_like(p["x"])
    for d in range(state.shape[1]):
        B, C = p["B"], p["C"]
        if B.dim() == 3:
            group = d // (state.shape[1] // B.shape[1])
            B, C = B[:, group], C[:, group]
        delta = p["dt"][:, d] + (p["dt_bias"][d] if "dt_bias" in p else 0)
        delta = F.softplus(delta) if softplus else delta
        decay = (delta[:, None] * p["A"][d]).exp()
        state[:, d] = decay * state[:, d] + (delta * p["x"][:, d])[:, None] * B
        out[:, d] = (state[:, d] * C).sum(-1)
        if "D" in p:
            out[:, d] += p["D"][d] * p["x"][:, d]
        if "z" in p:
            out[:, d] *= F.silu(p["z"][:, d])
    return state, out


def assert_near(got: Tensor, want: Tensor, dtype: torch.dtype) -> None:
    tolerance = TOLERANCE[dtype] * max(1.0, float(want.abs().max())) if want.numel() else 1
    torch.testing.assert_close(got.double(), want, rtol=0, atol=tolerance)


@pytest.fixture(params=["cpu", "reference"])
def backend(request: pytest.FixtureRequest) -> Any:
    with use_backend(request.param, "selective_state_update"):
        yield request.param


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("missing", [(), ("D",), ("z",), ("dt_bias",), OPTIONAL])
@pytest.mark.parametrize("softplus", [True, False])
def test_equals_float64(backend: str, dtype: Any, missing: Any, softplus: bool) -> None:
    inputs = {name: t for name, t in make(dtype=dtype).items() if name not in missing}
    state, out = expected(inputs, softplus)
    inputs["state"] = inputs["state"].float()
    got = selective_state_update(**inputs, dt_softplus=softplus)
    assert got.dtype == dtype
    assert_near(got, out, dtype)
    assert_near(inputs["state"], state, torch.float32)


@pytest.mark.parametrize(
    "sizes", [(1, 1, 1, None), (2, 63, 5, None), (2, 6, 100, 3), (1, 100, 256, 1), (0, 3, 4, None),
              (2, 0, 4, None), (2, 3, 0, None)],
)  # fmt: skip
def test_sizes_and_groups(backend: str, sizes: Any) -> None:
    inputs = make(*sizes, dtype=torch.float32)
    state, out = expected(inputs, True)
    got = selective_state_update(**inputs, dt_softplus=True)
    assert got.shape == out.shape
    assert_near(got, out, torch.float32)
    assert_near(inputs["state"], state, torch.float32)


@pytest.mark.parametrize("n", [5, 16])
@pytest.mark.parametrize("value", [-1e4, -100.0, 100.0, 1e4, float("inf"), float("nan")])
def test_overflow_is_infinite(n: int, value: float) -> None:
    inputs = {name: tensor.abs() for name, tensor in make(n=n, dtype=torch.float32).items()}
    inputs["A"] = torch.full_like(inputs["A"], value)
    other = {name: tensor.clone() for name, tensor in inputs.items()}
    got = selective_state_update(**inputs)
    with use_backend("reference", "selective_state_update"):
        want = selective_state_update(**other)
    torch.testing.assert_close(got, want, equal_nan=True, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        inputs["state"], other["state"], equal_nan=True, rtol=1e-5, atol=1e-5
    )


def test_float64_is_exact() -> None:
    inputs = make()
    state, out = expected(inputs, True)
    with use_backend("reference", "selective_state_update"):
        assert_near(selective_state_update(**inputs, dt_softplus=True), out, torch.float64)
    assert_near(inputs["state"], state, torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_view_is_updated_in_place(backend: str, dtype: torch.dtype) -> None:
    inputs = make(dtype=torch.float32)
    heads = torch.full((3, 2, 6, 16), 7.0, dtype=dtype)
    heads[:, 1] = inputs["state"].to(dtype)
    state, out = expected(inputs | {"state": heads[:, 1]}, False)
    got = selective_state_update(**inputs | {"state": heads[:, 1]})
    assert_near(got, out, torch.float32)
    assert_near(heads[:, 1], state, dtype)
    assert (heads[:, 0] == 7).all()


def test_other_inputs_are_unchanged(backend: str) -> None:
    inputs = make(dtype=torch.float32)
    before = {name: tensor.clone() for name, tensor in inputs.items()}
    selective_state_update(**inputs, dt_softplus=True)
    assert [n for n in inputs if not torch.equal(inputs[n], before[n])] == ["state"]


def test_gradients_pass_through_out_and_state() -> None:
    inputs = {name: tensor.requires_grad_() for name, tensor in make(2, 3, 4).items()}

    def call(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        state, *rest = tensors
        state = state.clone()
        with use_backend("reference", "selective_state_update"):
            return selective_state_update(state, *rest, dt_softplus=True), state

    assert torch.autograd.gradcheck(call, tuple(inputs.values()))


@pytest.mark.parametrize("missing", [(), OPTIONAL])
def test_opcheck_with_a_mutated_state(missing: Any) -> None:
    inputs = make(dtype=torch.float32, groups=2)
    values = [None if name in missing else tensor for name, tensor in inputs.items()]
    torch.library.opcheck(selective_state_update_op, (*values, True, None, "cpu"))
    schema = str(torch.ops.evenfall.selective_state_update.default._schema)
    assert "Tensor(a0!) state" in schema
    assert schema.count("!") == 1


def test_compiles_without_a_graph_break() -> None:
    compiled = torch.compile(selective_state_update, backend="aot_eager", fullgraph=True)
    inputs, others = make(dtype=torch.float32), make(dtype=torch.float32)
    with torch.no_grad():
        got, want = compiled(**inputs, dt_softplus=True), expected(others, True)
    assert_near(got, want[1], torch.float32)
    assert_near(inputs["state"], want[0], torch.float32)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"state": [1.0]}, TypeError, "state must be a Tensor, got list"),
        ({"B": None}, TypeError, "B must be a Tensor, got NoneType"),
        ({"dt": None}, TypeError, "dt must be a Tensor, got NoneType"),
        ({"state": None, "state_indices": torch.arange(3)}, TypeError, "state must be a Tensor"),
        ({"x": torch.ones(3, 6).int()}, TypeError, "x must be floating point, got torch.int32"),
        ({"state": torch.ones(6, 16)}, ValueError, r"state must have shape \(batch, dim, n\)"),
        ({"x": torch.ones(6)}, ValueError, r"x must have shape \(3, 6\).*got \(6,\)"),
        ({"A": torch.ones(16)}, ValueError, r"A must have shape \(6, 16\)"),
        ({"B": torch.ones(3, 4, 16)}, ValueError, "the groups of B must divide dim = 6, got 4"),
        ({"C": torch.ones(3, 2, 16)}, ValueError, r"C must have shape \(3, 16\)"),
        ({"z": torch.ones(3, 5)}, ValueError, r"z must have shape \(3, 6\)"),
        ({"dt_bias": torch.ones(1)}, ValueError, r"dt_bias must have shape \(6,\)"),
        ({"D": torch.ones(6, device="meta")}, ValueError, "D is on meta, but state is on cpu"),
    ],
)
def test_wrong_arguments(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        selective_state_update(**make(dtype=torch.float32) | changes)


@pytest.mark.parametrize("n", [5, 16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_of_a_cache(backend: str, n: int, dtype: torch.dtype) -> None:
    """Each element has its row; padding changes nothing and gives zero."""
    inputs = make(n=n, dtype=torch.float32)
    cache = torch.randn(5, 6, n, generator=torch.Generator().manual_seed(1)).to(dtype)
    indices = torch.tensor([4, -1, 2], dtype=torch.int32)
    before = cache.clone()
    state, out = expected(inputs | {"state": cache[[4, 0, 2]].float()}, True)
    got = selective_state_update(**inputs | {"state": cache}, dt_softplus=True,
                                 state_indices=indices)  # fmt: skip
    assert not got[1].any()
    for element, row in ((0, 4), (2, 2)):
        assert_near(got[element], out[element], torch.float32)
        assert_near(cache[row], state[element], dtype)
    assert torch.equal(cache[[0, 1, 3]], before[[0, 1, 3]])


def test_rows_of_a_cache_with_gradients() -> None:
    inputs = make(2, 3, 4)
    leaves = {name: t.requires_grad_() for name, t in inputs.items() if name != "state"}

    def call(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        cache = torch.zeros(4, 3, 4, dtype=torch.float64)
        out = selective_state_update(cache, *tensors, state_indices=torch.tensor([3, -1]))
        return out, cache

    assert torch.autograd.gradcheck(call, tuple(leaves.values()))


@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        ([0, 1, 2], TypeError, "state_indices must be a Tensor of integers, got list"),
        (torch.zeros(3), TypeError, "got torch.float32"),
        (torch.zeros(2).long(), ValueError, r"must have shape \(3,\)"),
        (torch.tensor([2, -1, 2]), ValueError, "must have each row at most once, got 2 twice"),
        (torch.tensor([0, 1, 3]), ValueError, "must be below 3, the number of state rows, got 3"),
    ],
)
def test_wrong_rows(indices: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        selective_state_update(**make(dtype=torch.float32), state_indices=indices)
