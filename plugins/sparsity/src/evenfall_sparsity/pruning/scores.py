"""Scores of weights or blocks: those with the smallest are removed first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from evenfall.counting import count_operations, list_matrices
from evenfall.errors import shorten

from ..calls import arguments_of, call, each_batch, evaluating, values_kept
from .targets import Target

METHODS = ("magnitude", "random", "wanda", "snip")
NEED_BATCHES = ("wanda", "snip")

Loss = Callable[[nn.Module, Any], Tensor]
"""(model, batch) -> a scalar."""


def score(
    model: nn.Module,
    targets: Sequence[Target],
    method: str,
    batches: Any = None,
    loss: Loss | None = None,
    seed: int = 0,
) -> list[Tensor]:
    """The scores of the blocks of each target, in the form of `Grid.norms`.

    Args:
        model: the model of the targets.
        targets: the matrices.
        method: one of METHODS, see `prune`.
        batches: inputs for wanda and snip.
        loss: for snip; None takes the `loss` of the model's output.
        seed: for random.

    Raises:
        ValueError: wanda or snip lacks what it needs.
    """
    if method == "magnitude":
        return [one.grid.norms(one.weight.detach()) for one in targets]
    if method == "random":
        return _random(targets, seed)
    values = (
        _wanda(model, targets, batches)
        if method == "wanda"
        else _snip(model, targets, batches, loss)
    )
    scores = [one.grid.norms(value) for one, value in zip(targets, values, strict=True)]
    for one, value in zip(targets, scores, strict=True):
        if not bool(torch.isfinite(value).all()):
            raise ValueError(
                f"method {shorten(method)} gives NaN or infinite scores for {one.name}"
            )
    return scores


def _random(targets: Sequence[Target], seed: int) -> list[Tensor]:
    """Uniform in (0, 1]; what is zero already comes first."""
    generator = torch.Generator().manual_seed(seed)
    scores = []
    for one in targets:
        norms = one.grid.norms(one.weight.detach())
        drawn = 1 - torch.rand(norms.shape, generator=generator)
        scores.append(torch.where(norms == 0, 0, drawn.to(norms)))
    return scores


def _wanda(model: nn.Module, targets: Sequence[Target], batches: Any) -> list[Tensor]:
    """|w| times the L2 norm of its input over all rows."""
    squares: dict[str, dict[tuple[int, ...], Tensor]] = {}
    aliases = _first_names(model)
    for batch in each_batch(batches, "wanda"):
        args, kwargs = arguments_of(batch)
        with evaluating(model):
            count = count_operations(model, *args, **kwargs)
        for name, parts in count.products.items():
            found = squares.setdefault(aliases[name], {})
            for part in parts:
                place = (part.weight.storage_offset(), *part.weight.shape)
                if part.squares is None:
                    found[place] = torch.tensor(torch.nan)
                else:
                    found[place] = found.get(place, 0) + part.squares
    scored = []
    for one in targets:
        parts_of = squares.get(aliases[one.name])
        if parts_of is None or any(bool(s.isnan().any()) for s in parts_of.values()):
            why = "it was not used in a batch" if parts_of is None else "its input is not visible"
            raise ValueError(f"method 'wanda' cannot score {one.name}: {why}; exclude it")
        scored.append(_times_inputs(one, parts_of))
    return scored


def _first_names(model: nn.Module) -> dict[str, str]:
    """Name of a matrix -> the first name of the same tensor."""
    return {one.name: one.shared_with or one.name for one in list_matrices(model)}


def _times_inputs(target: Target, parts: dict[tuple[int, ...], Tensor]) -> Tensor:
    """The magnitudes of a weight times the norms of its inputs; parts are slices along axis 0."""
    axis, weight = target.matrix.input_axis, target.weight.detach()
    magnitude = weight.abs().to(torch.promote_types(weight.dtype, torch.float32))
    for (offset, *shape), squares in parts.items():
        if len(squares) != shape[axis]:
            raise ValueError(
                f"method 'wanda' cannot score {target.name}: it is a grouped convolution; "
                "exclude it"
            )
        norms = squares.sqrt().to(magnitude)
        norms = norms.view([-1 if i == axis else 1 for i in range(weight.dim())])
        if tuple(shape) == tuple(weight.shape):
            return magnitude * norms
        first = (offset - weight.storage_offset()) // weight.stride(0)
        magnitude[first : first + shape[0]] *= norms
    return magnitude


def _snip(
    model: nn.Module, targets: Sequence[Target], batches: Any, loss: Loss | None
) -> list[Tensor]:
    """|w dL/dw|, with the gradient summed over the batches, in the mode that the model is in.

    Its buffers, such as the statistics of a batch norm, stay as they are.
    """
    weights = [one.weight for one in targets]
    frozen = [one.name for one in targets if not one.weight.requires_grad]
    if frozen:
        raise ValueError(f"method 'snip' needs gradients, but {frozen[:3]} are frozen")
    sums: list[Tensor] | None = None
    with torch.enable_grad(), values_kept(model.buffers()):
        for batch in each_batch(batches, "snip"):
            value = _loss(model, batch, loss)
            gradients = torch.autograd.grad(value, weights, allow_unused=True)
            missing = [one.name for one, g in zip(targets, gradients, strict=True) if g is None]
            if missing:
                raise ValueError(f"method 'snip': the loss does not depend on {missing[:3]}")
            sums = list(gradients) if sums is None else [
                total + g for total, g in zip(sums, gradients, strict=True)
            ]  # fmt: skip
    assert sums is not None
    return [(w.detach() * g).abs() for w, g in zip(weights, sums, strict=True)]


def _loss(model: nn.Module, batch: Any, loss: Loss | None) -> Tensor:
    value = call(model, batch) if loss is None else loss(model, batch)
    if loss is None:
        value = value.get("loss") if isinstance(value, dict) else getattr(value, "loss", None)
    if not isinstance(value, Tensor) or value.numel() != 1 or not value.requires_grad:
        raise ValueError(
            "method 'snip' needs loss, a function (model, batch) -> scalar tensor with a gradient, "
            "or batches with which the output of the model has a loss"
        )
    return value
