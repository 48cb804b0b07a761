"""Gradients of a function within a custom operator, where autograd records nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def pull_back(
    function: Callable[..., tuple[Tensor, ...]],
    inputs: Sequence[Tensor | None],
    gradients: tuple[Tensor, ...],
) -> list[Tensor | None]:
    """Gradients of `inputs`, None for an absent one, from those of function(*inputs)."""

    def of_present(*present: Tensor) -> Any:
        given = iter(present)
        return function(*(None if t is None else next(given) for t in inputs))

    _, pull = torch.func.vjp(of_present, *(t for t in inputs if t is not None))
    found = iter(pull(gradients))
    return [None if t is None else next(found) for t in inputs]
