"""Compressed and quantized rows: round trips, sizes and errors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from evenfall_kernels import CompressedRows, compress_rows, quantize_rows

DENSE = torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0], [-1.0, 0.0, 0.5]])


def test_stores_the_nonzeros_row_by_row() -> None:
    rows = compress_rows(DENSE)
    assert rows.values.tolist() == [2.0, -1.0, 0.5]
    assert rows.columns.tolist() == [1, 0, 2]
    assert rows.row_starts.tolist() == [0, 1, 1, 3]
    assert (rows.shape, rows.scale) == ((3, 3), None)
    assert (rows.columns.dtype, rows.row_starts.dtype) == (torch.uint16, torch.int64)
    assert rows.nbytes == 3 * 4 + 3 * 2 + 4 * 8


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("index_dtype", [None, torch.uint16, torch.int32])
@pytest.mark.parametrize("shape", [(63, 100), (1, 2047), (0, 4), (4, 0)])
def test_dense_gives_the_matrix_back(
    shape: tuple[int, int], dtype: torch.dtype, index_dtype: torch.dtype | None
) -> None:
    dense = (torch.randn(shape) * (torch.rand(shape) < 0.1)).to(dtype)
    assert torch.equal(compress_rows(dense, index_dtype=index_dtype).dense(), dense)


def test_int8_rows_are_within_half_a_step() -> None:
    dense = torch.randn(63, 100) * (torch.rand(63, 100) < 0.2)
    rows = compress_rows(dense, dtype=torch.int8)
    assert rows.values.dtype == torch.int8
    assert rows.scale is not None
    assert ((rows.dense() - dense).abs() <= rows.scale[:, None] * 0.5001).all()


@pytest.mark.parametrize(("n_out", "dtype"), [(65536, torch.uint16), (65537, torch.int32)])
def test_index_dtype_is_the_smallest_that_fits(n_out: int, dtype: torch.dtype) -> None:
    dense = torch.zeros(2, n_out)
    dense[1, -1] = 1.0
    rows = compress_rows(dense)
    assert rows.columns.dtype == dtype
    assert torch.equal(rows.dense(), dense)


def test_too_many_columns_for_uint16() -> None:
    with pytest.raises(ValueError, match="65537 columns"):
        compress_rows(torch.zeros(1, 65537), index_dtype=torch.uint16)


def test_default_dtype() -> None:
    assert compress_rows(DENSE.double()).values.dtype == torch.float32
    assert compress_rows(DENSE.bfloat16()).values.dtype == torch.bfloat16


def test_parameters_are_detached() -> None:
    assert not compress_rows(torch.nn.Parameter(DENSE)).values.requires_grad


def test_moves_to_a_device() -> None:
    rows = compress_rows(DENSE, dtype=torch.int8).to("meta")
    assert {rows.values.device.type, rows.columns.device.type} == {"meta"}
    assert rows.scale is not None
    assert rows.scale.is_meta


def test_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        compress_rows(DENSE).shape = (1, 1)  # type: ignore[misc]


def test_quantize_rows() -> None:
    weight = torch.tensor([[1.0, -2.54, 0.01], [0.0, 0.0, 0.0]])
    quantized, scale = quantize_rows(weight)
    torch.testing.assert_close(scale, torch.tensor([0.02, 1.0]))
    assert quantized.tolist() == [[50, -127, 0], [0, 0, 0]]


@pytest.mark.parametrize("function", [compress_rows, quantize_rows])
@pytest.mark.parametrize(
    ("weight", "error", "message"),
    [
        (torch.ones(2, 2, dtype=torch.int8), TypeError, "must be floating point, got torch.int8"),
        ([[1.0]], TypeError, "weight must be a Tensor, got list"),
        (torch.ones(2), ValueError, r"must have shape \(I, O\), got \(2,\)"),
        (torch.tensor([[float("nan")]]), ValueError, "NaN"),
        (torch.tensor([[float("inf")]]), ValueError, "infinity"),
    ],
)
def test_wrong_matrices(
    function: Callable[[Any], object], weight: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        function(weight)


def test_wrong_value_dtype() -> None:
    with pytest.raises(TypeError, match="float64"):
        compress_rows(DENSE, dtype=torch.float64)


def test_wrong_index_dtype() -> None:
    with pytest.raises(TypeError, match=r"columns must be one of .*, got torch\.int64"):
        compress_rows(DENSE, index_dtype=torch.int64)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"values": [1.0]}, TypeError, "values must be a Tensor, got list"),
        ({"columns": None}, TypeError, "columns must be a Tensor, got NoneType"),
        ({"row_starts": [0]}, TypeError, "row_starts must be a Tensor, got list"),
        ({"scale": 1.0}, TypeError, "scale must be a Tensor, got float"),
        ({"values": torch.ones(3, dtype=torch.int64)}, TypeError, r"values .*, got torch\.int64"),
        ({"row_starts": torch.tensor([0, 1, 1, 3]).int()}, TypeError, "row_starts"),
        (
            {"scale": torch.ones(3, dtype=torch.int8)},
            TypeError,
            r"scale must be floating point, got torch\.int8",
        ),
        ({"values": torch.ones(3, dtype=torch.int8)}, ValueError, "need a scale"),
        (
            {"columns": torch.zeros(2, dtype=torch.int32)},
            ValueError,
            r"must have shape \(3,\), got \(2,\)",
        ),
        (
            {"columns": torch.tensor([0, 3, 1]).int()},
            ValueError,
            r"must be in \[0, 3\), got values from 0 to 3",
        ),
        (
            {"columns": torch.tensor([0, -1, 1]).int()},
            ValueError,
            r"columns must be in \[0, 3\), got values from -1 to 1",
        ),
        ({"row_starts": torch.tensor([0, 1, 3])}, ValueError, "row_starts must have shape"),
        ({"row_starts": torch.tensor([0, 2, 1, 3])}, ValueError, "must start at 0, not decrease"),
        ({"row_starts": torch.tensor([1, 1, 1, 3])}, ValueError, "must start at 0, not decrease"),
        ({"row_starts": torch.tensor([0, 1, 1, 2])}, ValueError, r"and end at 3 \(values\)"),
        ({"scale": torch.ones(2)}, ValueError, "scale must have shape"),
        ({"values": torch.ones(3, 1)}, ValueError, r"values must have shape \(nnz,\)"),
        (
            {"columns": torch.tensor([1, 2, 2]).int(), "row_starts": torch.tensor([0, 1, 1, 3])},
            ValueError,
            "must not contain a column twice in a row",
        ),
        ({"scale": torch.tensor([1.0, float("nan"), 1.0])}, ValueError, "NaN"),
        ({"values": torch.ones(3, requires_grad=True)}, ValueError, "requires grad"),
        ({"values": torch.ones(3, device="meta")}, ValueError, "but values are on"),
    ],
)
def test_inconsistent_attributes(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        dataclasses.replace(compress_rows(DENSE), **changes)


def test_columns_of_a_row_may_have_any_order() -> None:
    rows = dataclasses.replace(compress_rows(DENSE), columns=torch.tensor([1, 2, 0]).int())
    assert rows.dense()[2].tolist() == [0.5, 0.0, -1.0]


def test_a_weight_that_the_dtype_cannot_hold() -> None:
    with pytest.raises(ValueError, match=r"too large for torch\.float16"):
        compress_rows(torch.full((1, 1), 1e9), dtype=torch.float16)


def test_is_exported() -> None:
    assert isinstance(compress_rows(DENSE), CompressedRows)
