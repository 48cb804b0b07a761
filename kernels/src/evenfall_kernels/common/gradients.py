"""Gradients of a function inside a custom operator, where autograd is off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def input_gradients(
    function: Callable[..., tuple[Tensor, ...]],
    inputs: Sequence[Tensor | None],
    gradients: tuple[Tensor, ...],
) -> list[Tensor | None]:
    """Gradients of `inputs` from the gradients of function(*inputs); None for an input of None."""

    def call(*tensors: Tensor) -> Any:
        remaining = iter(tensors)
        return function(*(None if t is None else next(remaining) for t in inputs))

    _, vjp = torch.func.vjp(call, *(t for t in inputs if t is not None))
    results = iter(vjp(gradients))
    return [None if t is None else next(results) for t in inputs]
