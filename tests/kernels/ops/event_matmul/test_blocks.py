"""Blocks along a row: which are stored, products of every dtype and width, gradients, errors."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from evenfall import use_backend
from evenfall_kernels import CompressedBlocks, compress_blocks, event_matmul
from evenfall_kernels.ops.event_matmul import cpu
from evenfall_kernels.ops.event_matmul.blocks import blocks_per_row
from evenfall_kernels.ops.event_matmul.op import event_matmul_rows

WIDTHS = [4, 8, 16]
STORED = [torch.float32, torch.bfloat16, torch.float16, torch.int8]
WEIGHT = torch.zeros(2, 9)
WEIGHT[0, [1, 3, 8]] = torch.tensor([1.0, 2.0, 3.0])


def make_matrix(n_units: int, n_out: int, density: float = 0.1) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    kept = torch.rand(n_units, n_out, generator=generator) < density
    return torch.randn(n_units, n_out, generator=generator) * kept


def make_events(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    fired = torch.rand(shape, generator=generator) < 0.3
    return torch.randn(shape, generator=generator) * fired


@pytest.fixture(params=["cpu", "reference"])
def backend(request: pytest.FixtureRequest) -> Any:
    with use_backend(request.param, "event_matmul"):
        yield request.param


def test_a_block_starts_at_a_nonzero_and_the_last_one_ends_with_the_row() -> None:
    blocks = compress_blocks(WEIGHT, 4)
    assert blocks.columns.tolist() == [1, 5]
    assert blocks.values.tolist() == [[1, 0, 2, 0], [0, 0, 0, 3]]
    assert blocks.row_starts.tolist() == [0, 2, 2]
    assert (blocks.width, blocks.shape, blocks.nbytes) == (4, (2, 9), 2 * 16 + 2 * 2 + 3 * 8)


def test_overlapping_blocks_store_an_entry_once() -> None:
    weight = torch.arange(1.0, 10.0).unsqueeze(0)
    blocks = compress_blocks(weight, 4)
    assert blocks.columns.tolist() == [0, 4, 5]
    assert blocks.values[2].tolist() == [0, 0, 0, 9]
    assert torch.equal(blocks.dense(), weight)


@pytest.mark.parametrize(("gates", "units"), [(3, 22), (1, 100), (4, 16)])
def test_blocks_kept_in_gates_are_stored_as_they_are(gates: int, units: int) -> None:
    """The last block of a gate of 22 has 6 columns; none of them costs a second block."""
    kept = torch.rand(30, gates, -(-units // 16), generator=torch.Generator().manual_seed(0)) < 0.3
    mask = kept.repeat_interleave(16, dim=2)[..., :units].reshape(30, gates * units)
    blocks = compress_blocks(torch.rand(mask.shape).add(0.1) * mask, 16)
    assert len(blocks.values) <= int(kept.sum())
    assert torch.equal(blocks_per_row(blocks.dense(), 16), blocks.row_starts.diff())


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dtype", STORED[:3])
@pytest.mark.parametrize("shape", [(63, 100), (1, 2047), (0, 16), (5, 16)])
def test_dense_gives_the_matrix_back(
    shape: tuple[int, int], dtype: torch.dtype, width: int
) -> None:
    matrix = make_matrix(*shape).to(dtype)
    assert torch.equal(compress_blocks(matrix, width).dense(), matrix)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dtype", STORED)
@pytest.mark.parametrize("n_batch", [0, 1, 17])
@pytest.mark.parametrize(("n_units", "n_out"), [(1, 16), (63, 101), (101, 63)])
def test_equals_float64(
    backend: str, n_units: int, n_out: int, n_batch: int, dtype: torch.dtype, width: int
) -> None:
    events, blocks = make_events(n_batch, n_units), make_blocks(n_units, n_out, width, dtype)
    bias = torch.randn(n_out)
    want = events.double() @ blocks.dense().double() + bias.double()
    out = event_matmul(events, blocks, bias=bias)
    torch.testing.assert_close(out.double(), want, rtol=2e-6, atol=1e-5)


def make_blocks(n_units: int, n_out: int, width: int, dtype: torch.dtype) -> CompressedBlocks:
    return compress_blocks(make_matrix(n_units, n_out), width, dtype=dtype)


def test_wide_matrices_have_32_bit_columns(backend: str) -> None:
    weight = torch.zeros(1, 70000)
    weight[0, [3, 69999]] = torch.tensor([1.0, 2.0])
    blocks = compress_blocks(weight, 16)
    assert blocks.columns.dtype == torch.int32
    assert torch.equal(event_matmul(torch.full((1, 1), 2.0), blocks), 2 * weight)


@pytest.mark.parametrize("dtype", STORED)
def test_events_get_gradients(backend: str, dtype: torch.dtype) -> None:
    blocks, events = make_blocks(63, 100, 8, dtype), make_events(3, 63).requires_grad_()
    upstream = torch.linspace(-1, 2, 300).reshape(3, 100)
    (got,) = torch.autograd.grad(event_matmul(events, blocks), events, upstream)
    torch.testing.assert_close(got, upstream @ blocks.dense().float().t(), rtol=1e-5, atol=1e-4)


def test_float64_is_exact() -> None:
    blocks, events = make_blocks(63, 100, 16, torch.float32), make_events(3, 63).double()
    want = events @ blocks.dense().double()
    with use_backend("reference"):
        torch.testing.assert_close(event_matmul(events, blocks), want, rtol=1e-12, atol=1e-12)


def test_opcheck_and_compile() -> None:
    blocks, events = make_blocks(63, 100, 8, torch.int8), make_events(3, 63).requires_grad_()
    matrix = blocks.values, blocks.columns, blocks.row_starts, blocks.scale, 100
    torch.library.opcheck(event_matmul_rows, (events, *matrix, "cpu"))
    compiled = torch.compile(
        lambda events: event_matmul(events, blocks), backend="aot_eager", fullgraph=True
    )
    torch.testing.assert_close(compiled(events), event_matmul(events, blocks))


def test_blocks_of_silent_units_are_not_read() -> None:
    blocks, events = make_blocks(63, 100, 16, torch.float32), make_events(1, 63)
    want = event_matmul(events, blocks)
    counts = blocks.row_starts.diff()
    blocks.values[(events[0] == 0).repeat_interleave(counts)] = float("nan")
    assert torch.equal(event_matmul(events, blocks), want)


def test_poisoned_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks, events = make_blocks(63, 100, 16, torch.float32), make_events(3, 63)
    want = event_matmul(events, blocks)
    monkeypatch.setattr(torch, "empty", lambda *shape: torch.full(shape, float("nan")))
    assert torch.equal(event_matmul(events, blocks), want)


def test_a_batch_is_split_over_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks, events = make_blocks(63, 100, 16, torch.float32), make_events(5, 63)
    want = event_matmul(events, blocks)
    monkeypatch.setattr(cpu, "_BYTES_PER_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert torch.equal(event_matmul(events, blocks), want)


def test_moves_to_a_device() -> None:
    moved = compress_blocks(WEIGHT, 4, dtype=torch.int8).to("meta")
    assert isinstance(moved, CompressedBlocks)
    assert {tensor.device.type for tensor in moved.tensors().values()} == {"meta"}


@pytest.mark.parametrize(
    ("weight", "width", "options", "error", "message"),
    [
        (WEIGHT, 3, {}, ValueError, r"width must be one of \(4, 8, 16\), got 3"),
        (WEIGHT, 16, {}, ValueError, "at least 16 columns, got 9"),
        (WEIGHT, 4, {"dtype": torch.float64}, TypeError, "float64"),
        (WEIGHT.int(), 4, {}, TypeError, "compress_blocks: weight must be floating point"),
        (WEIGHT / 0, 4, {}, ValueError, "compress_blocks: weight must be finite"),
        (WEIGHT[0], 4, {}, ValueError, r"shape \(I, O\)"),
    ],
)
def test_wrong_arguments(
    weight: Tensor, width: int, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        compress_blocks(weight, width, **options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": torch.ones(2)}, r"values must have shape \(n, width\) .*, got \(2,\)"),
        ({"values": torch.ones(2, 5)}, r"width of \(4, 8, 16\), got \(2, 5\)"),
        ({"columns": torch.tensor([1, 6]).int()}, r"columns must be in \[0, 6\), got .* 1 to 6"),
        ({"row_starts": torch.tensor([0, 1, 1])}, r"end at 2 \(values\)"),
        ({"values": torch.ones(2, 4, dtype=torch.int8)}, "int8 values need a scale"),
        ({"scale": torch.tensor([1.0, float("inf")])}, "scale must be finite"),
    ],
)
def test_inconsistent_attributes(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"CompressedBlocks: .*{message}"):
        dataclasses.replace(compress_blocks(WEIGHT, 4), **changes)
