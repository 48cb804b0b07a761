"""What code that torch.compile and torch.export trace needs: sizes and containers of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import GetAttrKey, register_pytree_node


def read_number(value: Tensor, least: int = 0) -> int:
    """The value of an int64 tensor with one element, which is at least `least`.

    In a traced graph it is a size that is known when the graph runs. torch.export and
    torch.compile(fullgraph=True) trace such sizes; otherwise torch.compile breaks the graph here,
    unless torch._dynamo.config.capture_scalar_outputs is set.
    """
    number: int = value.item()  # int() would make it a constant
    if torch.compiler.is_compiling():
        torch._check(number >= least)
    return number


def as_pytree(kind: type[Any], tensors: Sequence[str], constants: Sequence[str]) -> None:
    """Let instances of a dataclass be arguments and results of exported programs.

    Args:
        kind: the class.
        tensors: its fields that are tensors or contain some.
        constants: its other fields, which a program keeps as they were when it was exported.
    """

    def flatten(value: Any) -> tuple[list[Any], list[Any]]:
        return [getattr(value, name) for name in tensors], [getattr(value, n) for n in constants]

    def unflatten(children: Any, context: Any) -> Any:
        return kind(**dict(zip(tensors, children, strict=True)),
                    **dict(zip(constants, context, strict=True)))  # fmt: skip

    def flatten_with_keys(value: Any) -> tuple[list[Any], list[Any]]:
        children, context = flatten(value)
        return list(zip(map(GetAttrKey, tensors), children, strict=True)), context

    register_pytree_node(
        kind, flatten, unflatten, flatten_with_keys_fn=flatten_with_keys,
        serialized_type_name=f"{kind.__module__}.{kind.__qualname__}",
    )  # fmt: skip
