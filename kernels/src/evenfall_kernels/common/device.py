"""Launch Triton kernels on the device of their arguments."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def on_its_device(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Run `function` with the device of its first argument, a tensor, as the current device.

    Triton launches on the current device, not on that of the arguments.
    """

    @wraps(function)
    def wrapper(*args: Parameters.args, **keywords: Parameters.kwargs) -> Result:
        tensor: Any = args[0]
        device: torch.device = tensor.device
        if device.index is None:  # the CPU: Triton's interpreter
            return function(*args, **keywords)
        with torch.get_device_module(device).device(device):
            return function(*args, **keywords)

    return wrapper
