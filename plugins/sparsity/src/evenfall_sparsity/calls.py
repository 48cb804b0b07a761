"""Calling a model with a batch, whatever form the batch has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from evenfall.errors import shorten


def arguments_of(batch: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of the call: a mapping gives keywords, a tuple or list positions; anything
    else, such as a PackedSequence, is the only argument."""
    if isinstance(batch, Mapping):
        return (), dict(batch)
    if isinstance(batch, tuple | list) and not isinstance(batch, PackedSequence):
        return tuple(batch), {}
    return (batch,), {}


def call(model: nn.Module, batch: Any) -> Any:
    """The output of the model for a batch."""
    args, kwargs = arguments_of(batch)
    return model(*args, **kwargs)


def each_batch(batches: Any, method: str) -> Iterator[Any]:
    """The batches, at least one.

    Raises:
        ValueError: there are none.
    """
    is_iterable = isinstance(batches, Iterable) and not isinstance(batches, Mapping | Tensor | str)
    if not is_iterable:
        raise ValueError(
            f"method {shorten(method)} needs batches, an iterable of the model's inputs, got "
            f"{'None' if batches is None else f'a {type(batches).__name__}'}"
        )
    count = 0
    for batch in batches:
        count += 1
        yield batch
    if not count:
        raise ValueError(f"method {shorten(method)} needs batches, got none")


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """In the block, every module is in evaluation mode."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def values_kept(tensors: Iterable[Tensor]) -> Iterator[None]:
    """After the block, tensors have the values from before it."""
    kept = [(tensor, tensor.detach().clone()) for tensor in tensors]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in kept:
                tensor.copy_(value)
