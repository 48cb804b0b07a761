"""Results of egru_step: the CPU and the reference against float64, for each storage format."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from evenfall import use_backend
from evenfall_kernels import (
    EgruStack,
    EgruWeights,
    StoredMatrix,
    compress_blocks,
    compress_rows,
    egru_scan,
    egru_step,
    event_matmul,
    input_table,
    quantize_rows,
)
from evenfall_kernels.ops.egru_step import cpu

from .stacks import UNITS, double, make_ids, make_stack, make_states

ROUNDING = {torch.float32: 1e-6, torch.bfloat16: 8e-3, torch.float16: 1e-3}


@pytest.fixture(params=["cpu", "reference"])
def backend(request: pytest.FixtureRequest) -> Any:
    with use_backend(request.param, "egru_step"):
        yield request.param


def assert_step_equals_float64(stack: EgruStack, batch: int, scale: float = 4) -> None:
    """Compare one step with that of the same weights in float64."""
    ids, states = make_ids(batch), make_states(stack, batch)
    tolerance = scale * ROUNDING[stack.dtype]
    out, new = egru_step(stack, ids, states)
    with use_backend("reference"):
        want, want_new = egru_step(
            double(stack), ids, [(y.double(), h.double()) for y, h in states]
        )
    assert out.dtype == stack.dtype
    torch.testing.assert_close(out.double(), want, rtol=tolerance, atol=tolerance)
    for pair, want_pair in zip(new, want_new, strict=True):
        for got, expected in zip(pair, want_pair, strict=True):
            assert got.dtype == torch.float32
            torch.testing.assert_close(got.double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("batch", [0, 1, 2, 5])
@pytest.mark.parametrize(("decoder", "bias"), [(True, True), (True, False), (False, False)])
def test_equals_float64(backend: str, batch: int, decoder: bool, bias: bool) -> None:
    assert_step_equals_float64(make_stack(decodes=decoder, has_bias=bias), batch)


@pytest.mark.parametrize("units", [(1,), (2, 63), (100, 17, 16, 3)])
@pytest.mark.parametrize("width", [1, 100])
def test_sizes_are_free(backend: str, units: tuple[int, ...], width: int) -> None:
    assert_step_equals_float64(make_stack(units=units, width=width), 1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_weights(backend: str, dtype: torch.dtype) -> None:
    assert_step_equals_float64(make_stack(dtype), 2)


@pytest.mark.parametrize(
    ("dtype", "index_dtype"),
    [(torch.float32, torch.uint16), (torch.bfloat16, torch.uint16), (torch.int8, torch.int32)],
)
def test_compressed_matrices(backend: str, dtype: torch.dtype, index_dtype: torch.dtype) -> None:
    plain = make_stack()

    def compress(matrix: Tensor) -> Any:
        kept = matrix * (matrix.abs() > matrix.abs().median())
        return compress_rows(kept, dtype=dtype, index_dtype=index_dtype)

    layers = [
        EgruWeights(compress(w.kernel), compress(w.recurrent_kernel), *w[2:]) for w in plain.layers
    ]
    stack = EgruStack(plain.embedding, layers, compress(plain.decoder), plain.decoder_bias)
    assert_step_equals_float64(stack, 2, scale=20)


def test_blocks_and_stored_matrices(backend: str) -> None:
    plain = make_stack(units=(20, 16))
    (first, second), decoder = plain.layers, plain.decoder
    quantized = StoredMatrix(*quantize_rows(second.kernel))
    stored = StoredMatrix(first.recurrent_kernel)
    blocks = StoredMatrix(compress_blocks(second.recurrent_kernel, 16))
    layers = [
        EgruWeights(compress_blocks(first.kernel, 8), stored, *first[2:]),
        EgruWeights(quantized, blocks, *second[2:]),
    ]
    stack = EgruStack(plain.embedding, layers, compress_blocks(decoder, 4), plain.decoder_bias)
    assert_step_equals_float64(stack, 2, scale=20)


def test_steps_equal_a_scan() -> None:
    """Eight steps from zeros equal egru_scan over eight tokens, layer by layer."""
    stack, ids = make_stack(), make_ids(8)
    states = [(torch.zeros(1, units), torch.zeros(1, units)) for units in UNITS]
    got = []
    for token in ids:
        logits, states = egru_step(stack, token[None], states)
        got.append(logits)
    x, last = stack.embedding[ids][None], []
    for weights in stack.layers:
        kernel, recurrent, bias, recurrent_bias, threshold = weights
        scan = egru_scan(x, kernel, recurrent, bias, recurrent_bias, threshold.clamp(0, 1))
        x = scan.y
        last.append(scan.state)
    want = event_matmul(x[0], stack.decoder, bias=stack.decoder_bias)
    torch.testing.assert_close(torch.cat(got), want, rtol=1e-5, atol=1e-5)
    for pair, want_pair in zip(states, last, strict=True):
        torch.testing.assert_close(pair, want_pair, rtol=1e-5, atol=1e-5)
    assert 0 < (x == 0).float().mean() < 1


def test_reads_a_row_of_the_input_table() -> None:
    plain = make_stack()
    table = input_table(plain.embedding, plain.layers[0].kernel)
    stack = make_stack(input_table=table)
    ids, states = make_ids(2), make_states(stack, 2)
    torch.testing.assert_close(
        egru_step(stack, ids, states), egru_step(plain, ids, states), rtol=1e-5, atol=1e-5
    )
    table.zero_()
    silent = make_stack()
    silent.layers[0].kernel.zero_()
    with torch.no_grad():
        assert torch.equal(egru_step(stack, ids, states)[0], egru_step(silent, ids, states)[0])


def test_changes_in_place_count_from_the_next_step_on(backend: str) -> None:
    stack, ids = make_stack(), make_ids(1)
    states = make_states(stack, 1)
    before = egru_step(stack, ids, states)[0]
    stack.decoder_bias.data += 1
    torch.testing.assert_close(egru_step(stack, ids, states)[0], before + 1)


def test_a_copy_reads_its_own_memory() -> None:
    stack = make_stack()
    before, _ = egru_step(stack, make_ids(2), make_states(stack, 2))
    duplicate = deepcopy(stack)
    with torch.no_grad():
        stack.embedding.zero_()
        stack.layers[0].kernel.zero_()
    after, _ = egru_step(duplicate, make_ids(2), make_states(duplicate, 2))
    assert torch.equal(after, before)


def test_former_states_are_not_changed(backend: str) -> None:
    stack, ids = make_stack(), make_ids(2)
    states = make_states(stack, 2)
    copies = [(y.clone(), h.clone()) for y, h in states]
    _, new = egru_step(stack, ids, states)
    for pair, copy, result in zip(states, copies, new, strict=True):
        assert torch.equal(pair[0], copy[0])
        assert torch.equal(pair[1], copy[1])
        assert result[0] is not pair[0]


def test_states_of_other_layouts_are_read(backend: str) -> None:
    stack, ids = make_stack(), make_ids(2)
    states = make_states(stack, 2)
    other = [(y.double().t().contiguous().t(), h[:, None][:, 0]) for y, h in states]
    torch.testing.assert_close(egru_step(stack, ids, other), egru_step(stack, ids, states))


def test_nan_reaches_the_output(backend: str) -> None:
    stack, ids = make_stack(), make_ids(1)
    states = make_states(stack, 1)
    states[0][1][0, 3] = float("nan")
    out, new = egru_step(stack, ids, states)
    assert new[0][0][0, 3].isnan()
    assert out.isnan().any()


def test_many_threads_share_a_stack() -> None:
    stack, ids = make_stack(units=(100, 80)), make_ids(1)
    states = make_states(stack, 1)
    want = egru_step(stack, ids, states)[0]
    with ThreadPoolExecutor(4) as pool:
        for out in pool.map(lambda _: egru_step(stack, ids, states)[0], range(200)):
            assert torch.equal(out, want)


def test_a_decoder_split_over_threads_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    stack, ids = make_stack(words=10_001), make_ids(2)
    states = make_states(stack, 2)
    want = egru_step(stack, ids, states)[0]
    monkeypatch.setattr(cpu, "_BYTES_PER_THREAD", 1)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert torch.equal(egru_step(stack, ids, states)[0], want)
    finally:
        torch.set_num_threads(threads)


def test_traced_calls_record_plain_operations() -> None:
    stack, ids = make_stack(), make_ids(2)
    states = make_states(stack, 2)
    want = egru_step(stack, ids, states)[0]
    with torch.no_grad():
        compiled = torch.compile(
            lambda ids: egru_step(stack, ids, states)[0], backend="aot_eager", fullgraph=True
        )
        torch.testing.assert_close(compiled(ids), want, rtol=1e-5, atol=1e-5)
        traced = torch.jit.trace(lambda ids: egru_step(stack, ids, states)[0], ids)
        other = ids.flip(0)
        torch.testing.assert_close(traced(other), compiled(other))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int8"])
@pytest.mark.parametrize("batch", [1, 3])
def test_an_embedding_stored_by_feature_as_the_decoder(
    backend: str, batch: int, dtype: str
) -> None:
    width = UNITS[-1]
    rows = torch.randn(width, 63, generator=torch.Generator().manual_seed(3))
    words = (
        StoredMatrix(*quantize_rows(rows))
        if dtype == "int8"
        else StoredMatrix(rows.to(getattr(torch, dtype)))
    )
    stack = make_stack(width=width, embedding=words, decoder=words)
    assert (stack.dtype, stack.vocabulary) == (torch.float32, 63)
    assert_step_equals_float64(stack, batch, scale=8)
    with pytest.raises(IndexError, match=r"63|out of range"):
        egru_step(stack, torch.tensor([63] * batch), make_states(stack, batch))
