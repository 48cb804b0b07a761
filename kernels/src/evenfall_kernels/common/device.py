"""Launch Triton kernels on the device of their arguments, and as deterministic as was asked for."""

from __future__ import annotations

import warnings
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


def alert_not_deterministic(what: str) -> None:
    """Do what PyTorch does in an operation whose result can differ between runs.

    Raises:
        RuntimeError: `torch.use_deterministic_algorithms(True)` is set; with `warn_only=True` it is
            a warning.
    """
    if not torch.are_deterministic_algorithms_enabled():
        return
    message = (
        f"{what} adds in an order that varies, so its last bits can differ between runs, but "
        "torch.use_deterministic_algorithms(True) is set; the backend 'reference' has a fixed order"
    )
    if not torch.is_deterministic_algorithms_warn_only_enabled():
        raise RuntimeError(message)
    warnings.warn(message, stacklevel=2)
