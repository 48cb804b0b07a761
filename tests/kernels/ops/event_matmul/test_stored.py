"""StoredMatrix: products, saving, copies, descriptions and errors in every storage format."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from evenfall_kernels import StoredMatrix, compress_blocks, compress_rows, quantize_rows
from evenfall_kernels.ops.event_matmul.formats import BlockArrays, DenseArrays, RowArrays

INPUTS, OUTPUTS = 37, 50
FORMATS = ["float32", "bfloat16", "int8", "compressed", "compressed int8", "blocks", "blocks int8"]
ARRAYS = {"rows": DenseArrays, "compressed": RowArrays, "blocks": BlockArrays}


def make_dense() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    kept = torch.rand(INPUTS, OUTPUTS, generator=generator) < 0.2
    return torch.randn(INPUTS, OUTPUTS, generator=generator) * kept


def make(name: str) -> StoredMatrix:
    dense, dtype = make_dense(), torch.int8 if "int8" in name else torch.float32
    if name.startswith("blocks"):
        return StoredMatrix(compress_blocks(dense, 8, dtype=dtype))
    if name.startswith("compressed"):
        return StoredMatrix(compress_rows(dense, dtype=dtype))
    return (
        StoredMatrix(*quantize_rows(dense))
        if name == "int8"
        else StoredMatrix(dense.to(getattr(torch, name)))
    )


@pytest.fixture(params=FORMATS)
def stored(request: pytest.FixtureRequest) -> StoredMatrix:
    return make(request.param)


@pytest.mark.parametrize("shape", [(INPUTS,), (2, INPUTS), (3, 5, INPUTS), (0, INPUTS)])
def test_multiplies(stored: StoredMatrix, shape: tuple[int, ...]) -> None:
    x, bias = torch.randn(shape), torch.randn(OUTPUTS)
    want = x.double() @ stored.dense().double()
    torch.testing.assert_close(stored(x).double(), want, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(stored(x, bias).double(), want + bias, rtol=1e-5, atol=1e-4)


def test_the_dense_matrix_is_within_half_a_step(stored: StoredMatrix) -> None:
    tolerance = {torch.float32: 0.0, torch.bfloat16: 0.01, torch.int8: 0.02}[stored.values.dtype]
    torch.testing.assert_close(stored.dense().float(), make_dense(), rtol=tolerance, atol=tolerance)


def test_the_dtype_is_that_of_the_dense_matrix(stored: StoredMatrix) -> None:
    assert stored.dtype == stored.dense().dtype


def test_the_input_gets_gradients(stored: StoredMatrix) -> None:
    x = torch.randn(3, INPUTS, requires_grad=True)
    stored(x).sum().backward()
    want = stored.dense().float().sum(1).expand(3, -1)
    torch.testing.assert_close(x.grad, want, rtol=1e-4, atol=1e-4)


def test_arrays_share_the_memory_of_the_buffers(stored: StoredMatrix) -> None:
    arrays = stored.arrays()
    assert type(arrays) is ARRAYS[stored.format]
    assert arrays.values.ctypes.data == stored.values.data_ptr()
    assert stored.arrays() is arrays


def test_a_description_and_a_file_give_the_matrix_back(stored: StoredMatrix) -> None:
    other = StoredMatrix.empty(stored.describe(), "cpu")
    assert other.describe() == stored.describe()
    other.load_state_dict(load(save(stored.state_dict())))
    assert torch.equal(other.dense(), stored.dense())
    assert other.nbytes == stored.nbytes


def test_a_copy_has_its_own_memory(stored: StoredMatrix) -> None:
    stored.arrays()
    other = copy.deepcopy(stored)
    assert other.arrays().values.ctypes.data == other.values.data_ptr() != stored.values.data_ptr()


def test_moves_with_its_module() -> None:
    module = nn.ModuleDict({"weight": make("blocks")})
    module["weight"].arrays()
    assert module.to("meta")["weight"].device.type == "meta"


def test_contents_are_checked_after_loading() -> None:
    """The compiled loops do not check bounds."""
    stored = make("blocks")
    stored(torch.ones(INPUTS))
    state = {**stored.state_dict(), "columns": torch.full_like(stored.columns.int(), 60)}
    stored.load_state_dict({**state, "columns": state["columns"].to(torch.uint16)})
    with pytest.raises(ValueError, match=r"columns must be in \[0, 43\)"):
        stored(torch.ones(INPUTS))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([1.0],), TypeError, "must be a Tensor, CompressedRows or CompressedBlocks, got list"),
        ((torch.ones(2, 2, dtype=torch.int8),), ValueError, "int8 matrix needs a scale"),
        ((torch.ones(2),), ValueError, r"matrix must have shape \(I, O\), got \(2,\)"),
    ],
)
def test_wrong_matrices(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        StoredMatrix(*arguments)


@pytest.mark.parametrize("rows", [1, 20])
def test_integers_are_refused(rows: int) -> None:
    """The matrix in their dtype would lose its fractions."""
    with pytest.raises(TypeError, match=r"got torch\.int64"):
        make("float32")(torch.ones(rows, INPUTS, dtype=torch.int64))


@pytest.mark.parametrize(
    "change", [{"format": "tiles"}, {"dtype": "float33"}, {"width": 5}, {"entries": None}]
)
def test_wrong_descriptions(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="cannot read the description"):
        StoredMatrix.empty({**make("blocks").describe(), **change})


@pytest.mark.parametrize("name", ["float32", "bfloat16", "int8"])
def test_columns_are_read(name: str) -> None:
    stored = make(name)
    indices = torch.tensor([[0, 49, 7], [7, 7, 1]])
    got = stored.take_columns(indices)
    assert (got.dtype, got.shape) == (torch.float32, (2, 3, INPUTS))
    assert torch.equal(got, stored.dense().float().t()[indices])
    with pytest.raises(IndexError):
        stored.take_columns(torch.tensor([50]))


def test_columns_of_compressed_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="needs dense rows, got 'compressed'"):
        make("compressed").take_columns(torch.tensor([0]))


def test_a_scale_stays_float32_in_a_model_of_another_dtype() -> None:
    stored, want = make("int8"), make("int8")
    assert torch.equal(nn.Sequential(stored).bfloat16()[0].dense(), want.dense())
    torch.set_default_dtype(torch.bfloat16)
    try:
        empty = StoredMatrix.empty(want.describe(), "cpu")
    finally:
        torch.set_default_dtype(torch.float32)
    assert empty.scale is not None
    assert empty.scale.dtype == torch.float32


def test_mostly_silent_vectors_are_multiplied_without_a_dense_matrix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored, x = make("int8"), torch.randn(40, INPUTS) * (torch.rand(40, INPUTS) < 0.1)
    want = x.double() @ stored.dense().double()
    monkeypatch.setattr(StoredMatrix, "dense", None)
    torch.testing.assert_close(stored(x).double(), want, rtol=1e-5, atol=1e-4)
