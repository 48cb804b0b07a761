"""Triton launches use the device of the tensors; tested without a second device."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from unittest import mock

import torch

from evenfall_kernels.common.device import on_its_device


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
