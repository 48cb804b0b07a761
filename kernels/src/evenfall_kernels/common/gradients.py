"""Gradients of a function inside a custom operator, where autograd is off, and second ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from evenfall.errors import BackendError


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


def recorded_gradients(
    function: Callable[..., tuple[Tensor, ...]],
    inputs: Sequence[Tensor | None],
    gradients: Sequence[Tensor],
) -> list[Tensor | None]:
    """As `input_gradients`, recorded by autograd, so that they have derivatives themselves.

    A backward pass with create_graph=True calls it with the reference of its operator: the function
    is computed once more, in plain PyTorch. None for an input that has no gradient.
    """
    with torch.enable_grad():
        # As views, so that a tensor that is two inputs has a gradient for each.
        views = [None if t is None else t.view_as(t) for t in inputs]
        outputs = function(*views)
        wanted = [t for t in views if t is not None and t.requires_grad]
        pairs = [(o, g) for o, g in zip(outputs, gradients, strict=True) if o.requires_grad]
        found = torch.autograd.grad(
            [o for o, _ in pairs], wanted, [g.to(o.dtype) for o, g in pairs],
            create_graph=True, allow_unused=True,
        )  # fmt: skip
    results = iter(found)
    return [None if t is None or not t.requires_grad else next(results) for t in views]


def refuse_second_derivatives(operation: str) -> Callable[..., Any]:
    """The autograd formula of a backward operator that has no derivatives.

    Raises:
        BackendError: whenever it is called.
    """

    def refuse(ctx: Any, *grads: Any) -> Any:
        raise BackendError(
            f"{operation}: this backend has first derivatives only; for second ones use "
            "`with evenfall.use_backend('reference')`"
        )

    return refuse
