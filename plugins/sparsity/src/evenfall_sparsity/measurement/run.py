"""measure(): one call of a model, counted."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from evenfall.checks import check_integer
from evenfall.counting import (
    OperationCount,
    PlacedMatrix,
    Product,
    count_operations,
    list_matrices,
)

from ..calls import arguments_of, evaluating
from ..checks import bare_model
from .result import MeasuredMatrix, MeasuredUnits, Measurement, Part


def measure(model: nn.Module, batch: Any, *, items: int | None = None) -> Measurement:
    """Count what a model stores, and what it computes for a batch, in NeuroBench's terms.

    A matrix multiplies only the inputs that are not zero, and of each only the weights that are not
    zero. `effective_macs` is the sum of these products, counted weight by weight; `expected` is
    dense MACs x density x activity, which is the same only if the two kinds of zeros are
    independent. Products of two activations, as in attention, and elementwise operations are not
    counted.

    The model is called in evaluation mode, without gradients. Wrappers of torch.compile,
    DistributedDataParallel and FSDP are opened.

    Args:
        model: any module; its classes' counters are those of `evenfall.counting`.
        batch: its input: a tensor, a tuple of arguments, or a mapping of keywords.
        items: the number of items in the batch, by which operations are divided. None counts the
            tokens of `input_ids` or `inputs_embeds` that `attention_mask` does not hide, or else
            takes the length of the first tensor.

    Returns:
        The figures. They are complete if `unknown` and `not_called` are empty.

    Raises:
        ValueError: items is no positive integer, or cannot be found in the batch; the batch is
            empty; a weight is on the meta device, quantised by a tensor of its own, or shared
            among ranks.
        TypeError: the model is not a module.

    Source: Yik et al. 2025, "The NeuroBench framework for benchmarking neuromorphic computing
    algorithms and systems", arXiv 2304.04640.
    """
    model = bare_model(model)
    if items is not None:
        check_integer("items", items, 1)
    args, kwargs = arguments_of(batch)
    item, number = _items(model, args, kwargs) if items is None else ("item", items)
    if number < 1:
        raise ValueError(f"batch must have at least one {item}, got {number}")
    missing = [name for name, weight in model.named_parameters() if weight.is_meta]
    if missing:
        raise ValueError(f"model has no values to count: {missing[:3]} are on the meta device")
    special = [name for name, one in model.named_parameters() if is_traceable_wrapper_subclass(one)]
    if special:
        raise ValueError(
            f"model has weights that cannot be counted, as they are quantised or shared among "
            f"ranks: {special[:3]}"
        )
    with evaluating(model):
        count = count_operations(model, *args, **kwargs)
    return Measurement(
        item=item,
        items=number,
        parameters=sum(one.numel() for one in model.parameters()),
        footprint=sum(
            one.numel() * one.element_size() for one in (*model.parameters(), *model.buffers())
        ),
        matrices=tuple(_matrices(model, count, number)),
        units=tuple(_units(count)),
        unknown=count.unknown,
        not_called=count.not_called,
    )


def _items(model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[str, int]:
    named = _by_name(model, args, kwargs)
    tokens, vectors = named.get("input_ids"), named.get("inputs_embeds")
    if tokens is None and isinstance(vectors, Tensor):
        tokens = vectors[..., 0]
    if tokens is None and args and isinstance(args[0], Tensor) and not args[0].is_floating_point():
        tokens = args[0] if args[0].dim() == 2 else None
    if isinstance(tokens, Tensor):
        return "token", _tokens(tokens, named.get("attention_mask"))
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor) and value.dim():
            return "sample", len(value)
    raise ValueError("items must be given: the batch has no tensor that says how many there are")


def _by_name(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The arguments of the call by the names in forward."""
    try:
        return inspect.signature(model.forward).bind_partial(*args, **kwargs).arguments
    except (TypeError, ValueError):  # the call will say why
        return kwargs


def _tokens(tokens: Tensor, mask: Any) -> int:
    """The number of tokens (N, T) that a mask (N, P + T) shows; the first P are in a cache."""
    if mask is None:
        return tokens.numel()
    new = tokens.shape[-1]
    if not isinstance(mask, Tensor) or mask.dim() != 2 or mask[:, -new:].shape != tokens.shape:
        what = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(
            f"items must be given: which tokens {tuple(tokens.shape)} count is not clear from "
            f"attention_mask, {what}"
        )
    return int((mask[:, -new:] != 0).sum())


def _matrices(model: nn.Module, count: OperationCount, items: int) -> Iterator[MeasuredMatrix]:
    placed = {one.name: one for one in list_matrices(model)}
    parts = _parts(placed, list(count.products))
    for name, products in count.products.items():
        weight = placed[name].weight
        done = [one.operations for one in products]
        yield MeasuredMatrix(
            name=name,
            part=parts[name],
            weights=weight.numel(),
            nonzero=int(torch.count_nonzero(weight)),
            activity=_activity(products),
            dense_macs=sum(one.dense_macs for one in done) / items,
            effective_macs=sum(one.effective_macs for one in done) / items,
            effective_acs=sum(one.effective_acs for one in done) / items,
        )


def _parts(placed: Mapping[str, PlacedMatrix], called: list[str]) -> dict[str, Part]:
    """The part of each matrix, from the order of the calls."""
    parts: dict[str, Part] = dict.fromkeys(called, "hidden")
    if not called:
        return parts
    last = placed[called[-1]].module
    recurrent = any(
        one.module == last and one.matrix.role == "recurrent" for one in placed.values()
    )
    inputs = [name for name in called if placed[name].matrix.role == "input"]
    for name in inputs:
        if placed[name].module == last and not recurrent:
            parts[name] = "decoder"
    if inputs and placed[inputs[0]].module == placed[called[0]].module:
        parts[inputs[0]] = "first layer's input"
    return parts


def _activity(products: tuple[Product, ...]) -> float | None:
    if any(one.active is None for one in products):
        return None
    inputs = sum(one.rows * len(one.active) for one in products)
    return sum(int(one.active.sum()) for one in products) / inputs if inputs else 0.0


def _units(count: OperationCount) -> Iterator[MeasuredUnits]:
    for name, one in count.activity.items():
        if one.values:
            silent = None if one.silent is None else one.silent / one.values
            yield MeasuredUnits(name, one.values, one.zeros / one.values, silent)
