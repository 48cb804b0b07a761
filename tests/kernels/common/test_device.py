"""Launches on the device of the tensors, without a second device at hand."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from unittest import mock

import torch

from evenfall_kernels.common.device import on_its_device


@on_its_device
def double(tensor: torch.Tensor, *, times: int = 2) -> object:
    return tensor.device, times


def test_the_tensor_s_device_becomes_the_current_one() -> None:
    second = SimpleNamespace(device=torch.device("cuda", 1))
    module = mock.Mock()
    module.device.side_effect = nullcontext
    with mock.patch.object(torch, "get_device_module", return_value=module) as found:
        assert double(second, times=3) == (second.device, 3)
    found.assert_called_once_with(second.device)
    module.device.assert_called_once_with(second.device)


def test_nothing_changes_on_the_cpu() -> None:
    with mock.patch.object(torch, "get_device_module") as found:
        assert double(torch.zeros(1)) == (torch.device("cpu"), 2)
    found.assert_not_called()
