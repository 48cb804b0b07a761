"""What launches of Triton kernels have in common."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")


def on_its_device(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """`function` with the device of its first argument, a tensor, as the current one.

    Triton launches on the current device, whatever device the arguments are on.
    """

    @wraps(function)
    def guarded(*args: Parameters.args, **keywords: Parameters.kwargs) -> Returned:
        device: torch.device = args[0].device  # type: ignore[attr-defined]
        if device.index is None:  # the CPU, where Triton is interpreted
            return function(*args, **keywords)
        with torch.get_device_module(device).device(device):
            return function(*args, **keywords)

    return guarded
