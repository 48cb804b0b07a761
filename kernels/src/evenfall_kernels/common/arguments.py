"""Checks of arguments that several operations share."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import Tensor


def check_floating(arguments: Mapping[str, Tensor | None], optional: Collection[str]) -> None:
    """Check that all arguments are real floating point tensors on the device of the first one.

    Those in `optional` may be None.

    Raises:
        TypeError: an argument is not such a tensor.
        ValueError: an argument is on another device.
    """
    first, device = next(iter(arguments)), None
    for name, tensor in arguments.items():
        if tensor is None and name in optional:
            continue
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name} must be a Tensor, got {type(tensor).__name__}")
        if not tensor.is_floating_point():
            raise TypeError(f"{name} must be real floating point, got {tensor.dtype}")
        device = device or tensor.device
        if tensor.device != device:
            raise ValueError(f"{name} is on {tensor.device}, but {first} is on {device}")
