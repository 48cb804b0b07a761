"""Triton launches use the device of the tensors, and obey PyTorch's switch for determinism."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from unittest import mock

import pytest
import torch

from evenfall_kernels.common.device import alert_not_deterministic, on_its_device


@on_its_device
def double(tensor: torch.Tensor, *, times: int = 2) -> object:
    return tensor.device, times


def test_the_device_of_the_tensor_becomes_the_current_device() -> None:
    second = SimpleNamespace(device=torch.device("cuda", 1))
    module = mock.Mock()
    module.device.side_effect = nullcontext
    with mock.patch.object(torch, "get_device_module", return_value=module) as get_module:
        assert double(second, times=3) == (second.device, 3)
    get_module.assert_called_once_with(second.device)
    module.device.assert_called_once_with(second.device)


def test_nothing_changes_on_the_cpu() -> None:
    with mock.patch.object(torch, "get_device_module") as get_module:
        assert double(torch.zeros(1)) == (torch.device("cpu"), 2)
    get_module.assert_not_called()


@pytest.fixture
def _deterministic():
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("_deterministic")
def test_a_sum_whose_order_varies_obeys_the_switch_of_pytorch() -> None:
    alert_not_deterministic("a sum")
    torch.use_deterministic_algorithms(True, warn_only=True)
    with pytest.warns(UserWarning, match="a sum adds in an order that varies"):
        alert_not_deterministic("a sum")
    torch.use_deterministic_algorithms(True)
    with pytest.raises(RuntimeError, match="a sum adds in an order that varies"):
        alert_not_deterministic("a sum")


@pytest.mark.usefixtures("_deterministic")
def test_event_matmul_of_compressed_rows_obeys_it() -> None:
    triton = pytest.importorskip("evenfall_kernels.ops.event_matmul.triton")
    torch.use_deterministic_algorithms(True)
    starts = torch.tensor([0, 1, 2])
    with pytest.raises(RuntimeError, match="event_matmul of compressed rows"):
        triton.forward_rows(
            torch.ones(1, 2), torch.ones(2), torch.zeros(2, dtype=torch.int16), starts, None, 1
        )
