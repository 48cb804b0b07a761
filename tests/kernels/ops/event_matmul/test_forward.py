"""Results of event_matmul: every backend, dtype, shape and edge case against float64."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

from evenfall import use_backend
from evenfall_kernels import compress_rows, event_matmul, quantize_rows
from evenfall_kernels.ops.event_matmul import cpu, reference

WEIGHTS = [torch.float32, torch.bfloat16, torch.float16, torch.int8]
ROUNDING = {torch.float32: 1e-6, torch.bfloat16: 8e-3, torch.float16: 1e-3, torch.float64: 1e-12}


def make_events(*shape: int, activity: float = 0.2, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    fired = torch.rand(shape, generator=generator) < activity
    return torch.randn(shape, generator=generator) * fired


def make_weight(n_units: int, n_out: int, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    weight = torch.randn(n_units, n_out, generator=torch.Generator().manual_seed(1))
    return quantize_rows(weight) if dtype == torch.int8 else (weight.to(dtype), None)


def expected(events: Tensor, weight: Tensor, scale: Tensor | None = None) -> Tensor:
    matrix = weight.double() if scale is None else weight.double() * scale.double()[:, None]
    return events.double() @ matrix


def assert_close(got: Tensor, want: Tensor, terms: int = 100) -> None:
    tolerance = ROUNDING[got.dtype]
    torch.testing.assert_close(
        got.double(), want, rtol=2 * tolerance, atol=tolerance * max(terms, 1) ** 0.5
    )


@pytest.fixture(params=["cpu", "reference"])
def backend(request: pytest.FixtureRequest) -> Any:
    with use_backend(request.param, "event_matmul"):
        yield request.param


@pytest.mark.parametrize("dtype", WEIGHTS)
@pytest.mark.parametrize("n_batch", [0, 1, 3, 17])
@pytest.mark.parametrize(("n_units", "n_out"), [(1, 1), (63, 100), (100, 63), (100, 2047)])
def test_equals_float64(
    backend: str, n_units: int, n_out: int, n_batch: int, dtype: torch.dtype
) -> None:
    events = make_events(n_batch, n_units)
    weight, scale = make_weight(n_units, n_out, dtype)
    out = event_matmul(events, weight, scale=scale)
    assert out.shape == (n_batch, n_out)
    assert_close(out, expected(events, weight, scale), n_units)


@pytest.mark.parametrize("shape", [(2047,), (2, 3, 2047), (1, 0, 2047)])
def test_keeps_leading_dimensions(backend: str, shape: tuple[int, ...]) -> None:
    events, (weight, _) = make_events(*shape), make_weight(2047, 63, torch.float32)
    out = event_matmul(events, weight)
    assert out.shape == (*shape[:-1], 63)
    assert_close(out, expected(events, weight), 2047)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_returns_the_dtype_of_the_events(backend: str, dtype: torch.dtype) -> None:
    events, (weight, _) = make_events(3, 100).to(dtype), make_weight(100, 63, torch.float32)
    out = event_matmul(events, weight, bias=torch.ones(63))
    assert out.dtype == dtype
    assert_close(out, expected(events, weight) + 1)


def test_float64_is_exact() -> None:
    events = make_events(3, 100).double()
    weight = torch.randn(100, 63, dtype=torch.float64)
    with use_backend("reference", "event_matmul"):
        assert_close(event_matmul(events, weight), events @ weight)


@pytest.mark.parametrize(("n_units", "n_out"), [(0, 5), (5, 0), (0, 0)])
@pytest.mark.parametrize("compress", [False, True])
def test_empty_matrices(backend: str, n_units: int, n_out: int, compress: bool) -> None:
    dense = torch.ones(n_units, n_out)
    weight = compress_rows(dense) if compress else dense
    for lead in ((), (2,), (2, 3)):
        out = event_matmul(torch.ones(*lead, n_units), weight, bias=torch.full((n_out,), 3.0))
        assert torch.equal(out, torch.full((*lead, n_out), 3.0))


@pytest.mark.parametrize("activity", [0.0, 1.0])
def test_none_and_all_fired(backend: str, activity: float) -> None:
    events, (weight, _) = make_events(3, 63, activity=activity), make_weight(63, 65, torch.float32)
    assert_close(event_matmul(events, weight), expected(events, weight))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("fired", [1, 20])
def test_nonfinite_events_reach_the_output(backend: str, bad: float, fired: int) -> None:
    events = torch.zeros(2, 63)
    events[0, :fired] = 1.0
    events[0, 0] = bad
    weight = torch.rand(63, 65) + 0.5
    out = event_matmul(events, weight)
    assert torch.equal(out[0].nan_to_num(7.0), torch.full((65,), bad).nan_to_num(7.0))
    assert torch.equal(out[1], torch.zeros(65))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_of_silent_units_are_not_read(dtype: torch.dtype) -> None:
    events = make_events(1, 100)
    weight = torch.randn(100, 63).to(dtype)
    poisoned = weight.clone()
    poisoned[events[0] == 0] = float("nan")
    assert torch.equal(event_matmul(events, poisoned), event_matmul(events, weight))


def test_every_float16_and_bfloat16_is_widened_exactly() -> None:
    bits = torch.arange(-(2**15), 2**15).to(torch.int16)
    for dtype in (torch.float16, torch.bfloat16):
        weight = bits.view(dtype)[None]
        out = cpu.forward(torch.ones(1, 1), weight, None)
        torch.testing.assert_close(out, weight.float(), rtol=0, atol=0, equal_nan=True)


def test_non_contiguous_inputs(backend: str) -> None:
    events = make_events(100, 6).t()[::2]
    weight, scale, bias = torch.randn(63, 100).t(), torch.rand(200)[::2], torch.rand(126)[::2]
    out = event_matmul(events, weight, scale=scale, bias=bias)
    assert_close(out, expected(events, weight, scale) + bias.double())


def test_inputs_are_unchanged(backend: str) -> None:
    events, weight, bias = make_events(3, 63), torch.randn(63, 65), torch.randn(65)
    before = [tensor.clone() for tensor in (events, weight, bias)]
    event_matmul(events, weight, bias=bias)
    assert all(map(torch.equal, (events, weight, bias), before))


@pytest.mark.parametrize("n_out", [65, 5000])
def test_poisoned_buffers(monkeypatch: pytest.MonkeyPatch, n_out: int) -> None:
    events, dense = make_events(3, 63), torch.randn(63, n_out)
    rows = compress_rows(dense)
    monkeypatch.setattr(torch, "empty", lambda *shape: torch.full(shape, float("nan")))
    assert_close(event_matmul(events, dense), expected(events, dense))
    assert_close(event_matmul(events, rows), expected(events, dense))


@pytest.fixture
def split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "_BYTES_PER_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)


@pytest.mark.usefixtures("split")
@pytest.mark.parametrize("prepare", [lambda weight: weight, compress_rows])
def test_threads_do_not_change_the_result(prepare: Callable[[Tensor], Any]) -> None:
    events, dense = make_events(17, 100), torch.randn(100, 2047)
    assert_close(event_matmul(events, prepare(dense)), expected(events, dense))


@pytest.mark.usefixtures("split")
def test_calls_from_many_threads_do_not_mix() -> None:
    dense = torch.randn(100, 513)
    inputs = [make_events(3, 100, seed=seed) for seed in range(40)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda events: event_matmul(events, dense), inputs))
    for events, result in zip(inputs, results, strict=True):
        assert_close(result, expected(events, dense))


@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16, torch.int8])
@pytest.mark.parametrize("index_dtype", [torch.uint16, torch.int32])
def test_compressed_equals_its_dense_form(
    backend: str, dtype: torch.dtype | None, index_dtype: torch.dtype
) -> None:
    events, dense = make_events(3, 100), make_events(100, 2047, seed=2)
    rows = compress_rows(dense, dtype=dtype, index_dtype=index_dtype)
    bias = torch.randn(2047)
    out = event_matmul(events, rows, bias=bias)
    assert_close(out, expected(events, rows.dense()) + bias.double())


def test_both_definitions_agree() -> None:
    events, dense = make_events(3, 63), make_events(63, 65, seed=2)
    rows = compress_rows(dense)
    out = reference.forward_rows(events, rows.values, rows.columns, rows.row_starts, None, 65)
    assert torch.equal(out, reference.forward(events, dense, None))
