"""The bounds of packed sequences are read once per call, and wrong ones never reach a loop."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from evenfall import use_backend
from evenfall_kernels import causal_conv1d, selective_scan

LENGTH = 12


def _convolve(cu_seqlens: Tensor) -> Tensor:
    return causal_conv1d(torch.ones(1, 4, LENGTH), torch.ones(4, 3), cu_seqlens=cu_seqlens)


def _scan(cu_seqlens: Tensor) -> Tensor:
    signal, matrix = torch.ones(1, 4, LENGTH), torch.ones(1, 2, LENGTH)
    return selective_scan(signal, signal, -torch.ones(4, 2), matrix, matrix, cu_seqlens=cu_seqlens)


@pytest.mark.parametrize("call", [_convolve, _scan])
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_bounds_are_read_once(
    call: Callable[[Tensor], Tensor], backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cu_seqlens, reads = torch.tensor([0, 5, LENGTH]), 0
    read = torch.Tensor.tolist

    def count(tensor: Tensor) -> list[int]:
        nonlocal reads
        reads += tensor is cu_seqlens
        return read(tensor)

    monkeypatch.setattr(torch.Tensor, "tolist", count)
    with use_backend(backend):
        call(cu_seqlens)
    assert reads == 1


@pytest.mark.parametrize("call", [_convolve, _scan])
@pytest.mark.parametrize("backend", ["cpu", "reference", "triton"])
@pytest.mark.parametrize("bounds", [[1, LENGTH], [0, 8, 5, LENGTH], [0, LENGTH + 1]])
def test_wrong_bounds_raise_an_error(
    call: Callable[[Tensor], Tensor],
    backend: str,
    bounds: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if backend == "triton":  # it does not support the CPU: stop at the check, before it runs
        operation = {_convolve: "causal_conv1d", _scan: "selective_scan"}[call]
        monkeypatch.setattr(f"evenfall_kernels.ops.{operation}.choose", _choose_triton)
        backend = "reference"
    with use_backend(backend), pytest.raises(ValueError, match="cu_seqlens must start at 0"):
        call(torch.tensor(bounds))


def _choose_triton(operation: str, tensors: list[Tensor], **_: object) -> object:
    from evenfall_kernels.common.dispatch import Choice

    return Choice("triton", None, False)
