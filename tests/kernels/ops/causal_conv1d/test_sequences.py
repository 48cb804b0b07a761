"""causal_conv1d: the formula, packed sequences, sequences in pieces, derivatives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from evenfall import use_backend
from evenfall_kernels import causal_conv1d
from evenfall_kernels.ops.causal_conv1d.edges import segments

ENDS = [0, 4, 4, 5, 20]


def make(batch: int = 1, dim: int = 5, length: int = 20, width: int = 4) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    shapes = {"x": (batch, dim, length), "weight": (dim, width), "bias": (dim,)}
    return {
        name: torch.randn(shape, generator=generator, dtype=torch.float64)
        for name, shape in shapes.items()
    }


@pytest.fixture(params=["reference", "cpu"])
def backend(request: pytest.FixtureRequest) -> Any:
    with use_backend(request.param, "causal_conv1d"):
        yield request.param


def in_dtype_of(backend: str, inputs: dict[str, Any]) -> dict[str, Any]:
    dtype = torch.float64 if backend == "reference" else torch.float32
    return {name: tensor.to(dtype) for name, tensor in inputs.items()}


def test_equals_torch_conv1d(backend: str) -> None:
    inputs = in_dtype_of(backend, make(batch=3))
    x, weight, bias = inputs.values()
    want = F.conv1d(x, weight[:, None], bias, padding=3, groups=5)[..., :20]
    torch.testing.assert_close(causal_conv1d(x, weight, bias), want)
    torch.testing.assert_close(causal_conv1d(x, weight, bias, activation="silu"), F.silu(want))
    torch.testing.assert_close(causal_conv1d(x, weight), want - bias[:, None])


def test_pieces_with_state_equal_the_whole(backend: str) -> None:
    x, weight, bias = in_dtype_of(backend, make(batch=2)).values()
    whole, last = causal_conv1d(x, weight, bias, return_final_state=True)
    state, parts = None, []
    for piece in x.split([1, 2, 0, 9, 8], dim=2):
        out, state = causal_conv1d(
            piece, weight, bias, initial_state=state, return_final_state=True
        )
        parts.append(out)
    torch.testing.assert_close(torch.cat(parts, 2), whole)
    torch.testing.assert_close(state, last)
    torch.testing.assert_close(last, x[..., -3:])


def test_packed_equals_separate(backend: str) -> None:
    x, weight, bias = in_dtype_of(backend, make()).values()
    states = torch.randn(4, 5, 3).to(x.dtype)
    got, last = causal_conv1d(
        x, weight, bias, initial_state=states, return_final_state=True, activation="silu",
        cu_seqlens=torch.tensor(ENDS, dtype=torch.int32),
    )  # fmt: skip
    pieces = zip(x.split([4, 0, 1, 15], dim=2), states.split(1), strict=True)
    want = [
        causal_conv1d(piece, weight, bias, initial_state=state, return_final_state=True,
                      activation="silu")
        for piece, state in pieces
    ]  # fmt: skip
    torch.testing.assert_close(got, torch.cat([out for out, _ in want], 2))
    torch.testing.assert_close(last, torch.cat([state for _, state in want]))


@pytest.mark.parametrize("packed", [False, True])
def test_derivatives_of_the_reference(packed: bool) -> None:
    inputs = make(dim=2, length=6, width=3)
    ends = torch.tensor([0, 1, 1, 6]) if packed else None
    state = torch.randn(3 if packed else 1, 2, 2, dtype=torch.float64)
    leaves = [tensor.requires_grad_() for tensor in (*inputs.values(), state)]

    def call(x: Any, weight: Any, bias: Any, state: Any) -> Any:
        return causal_conv1d(
            x, weight, bias, initial_state=state, return_final_state=True, activation="silu",
            cu_seqlens=ends,
        )  # fmt: skip

    with use_backend("reference", "causal_conv1d"):
        assert torch.autograd.gradcheck(call, leaves)
        assert torch.autograd.gradgradcheck(call, leaves)


def test_threads_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    from evenfall_kernels.cpu import threads

    x, weight, bias = (t.float().requires_grad_() for t in make(dim=33).values())

    def run() -> list[torch.Tensor]:
        out = causal_conv1d(x, weight, bias, activation="silu")
        return [out, *torch.autograd.grad(out.square().sum(), (x, weight, bias))]

    one_thread = run()
    monkeypatch.setattr(threads, "BYTES_PER_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    for got, want in zip(run(), one_thread, strict=True):
        assert torch.equal(got, want)


@pytest.mark.parametrize("packed", [False, True])
def test_rows_of_a_cache(packed: bool) -> None:
    """Each sequence has its row; padding changes nothing and gives zero."""
    torch.manual_seed(0)
    weight, cache = torch.randn(5, 4), torch.randn(6, 5, 3)
    before, indices = cache.clone(), torch.tensor([4, -1, 2], dtype=torch.int32)
    bounds = torch.tensor([0, 2, 6, 11]) if packed else None
    x = torch.randn(1, 5, 11) if packed else torch.randn(3, 5, 7)
    out, final = causal_conv1d(
        x, weight, initial_state=cache, state_indices=indices, cu_seqlens=bounds,
        return_final_state=True,
    )  # fmt: skip
    parts = list(x.split([2, 4, 5], dim=2)) if packed else list(x.split(1))
    outputs = list(out.split([2, 4, 5], dim=2)) if packed else list(out.split(1))
    for sequence, row in ((0, 4), (2, 2)):
        want, last = causal_conv1d(
            parts[sequence], weight, initial_state=before[row : row + 1], return_final_state=True
        )
        torch.testing.assert_close(outputs[sequence], want)
        torch.testing.assert_close(cache[row], last[0])
        torch.testing.assert_close(final[sequence], last[0])
    assert not outputs[1].any()
    assert not final[1].any()
    assert torch.equal(cache[[0, 1, 3, 5]], before[[0, 1, 3, 5]])


@pytest.mark.parametrize("bounds", [[0, 3], [2, 5], [-4, 5], [0, 9], [7, 9], [0, 4, 2, 5]])
def test_bounds_that_nobody_has_checked_lead_to_no_other_memory(bounds: list[int]) -> None:
    """Reading them on a GPU would wait for it."""
    first, sequence = segments(torch.ones(1, 2, 5), torch.tensor(bounds))
    assert all(0 <= start <= step for step, start in enumerate(first.tolist()))
    assert all(0 <= number < len(bounds) - 1 for number in sequence.tolist())


def test_rows_need_a_cache() -> None:
    with pytest.raises(ValueError, match="state_indices need initial_state"):
        causal_conv1d(torch.ones(1, 2, 3), torch.ones(2, 4), state_indices=torch.tensor([0]))
