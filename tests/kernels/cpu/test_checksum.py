"""checksum: what changes it."""

from __future__ import annotations

import pytest
import torch

from evenfall_kernels.cpu.checksum import checksum

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int8]


def make(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """(9, 7), a number of bytes that eight does not divide in most dtypes."""
    return (torch.randn(9, 7, generator=torch.Generator().manual_seed(0)) * 20).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_each_element_counts(dtype: torch.dtype) -> None:
    tensor = make(dtype)
    found = {checksum(tensor)}
    for index in range(tensor.numel()):
        changed = tensor.clone()
        changed.view(-1)[index] += 1
        found.add(checksum(changed))
    assert len(found) == tensor.numel() + 1
    assert checksum(tensor.clone()) == checksum(tensor)


@pytest.mark.filterwarnings("error")
def test_without_the_compiler_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = [make(dtype) for dtype in DTYPES]
    found = [checksum(tensor) for tensor in tensors]
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    assert [checksum(tensor) for tensor in tensors] == found


def test_order_shape_dtype_and_signs_count() -> None:
    tensor = make()
    others = (
        tensor.flip(0), tensor[:, torch.randperm(7)], tensor.view(7, 9), -tensor,
        tensor.view(torch.int32), tensor * torch.tensor([[1.0, -1, 1, 1, 1, 1, -1]]),
    )  # fmt: skip
    assert len({checksum(x) for x in (tensor, *others)}) == len(others) + 1


def test_several_tensors_and_other_layouts() -> None:
    a, b = make(), make(torch.bfloat16)
    assert checksum(a, b) != checksum(b, a)
    assert checksum(a.t()) == checksum(a.t().contiguous())
    assert checksum(torch.empty(0, 3)) != checksum(torch.empty(3, 0))
    parameter = torch.nn.Parameter(a)
    assert checksum(parameter) == checksum(a)
